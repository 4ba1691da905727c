variable "bucket" {
  description = "Name of the bucket, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 63 characters of a-z, 0-9 and '-': shorten project or environment."
  }
}

variable "expire_days" {
  description = "Delete objects after this many days; null keeps them."
  type        = number
  default     = null
}

variable "force_destroy" {
  description = "Delete the bucket although it holds objects."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Key that encrypts objects; null uses S3's own key, which load balancer logs and a public CDN need."
  type        = string
  default     = null
}

variable "noncurrent_days" {
  description = "Days that an overwritten or deleted object can be brought back."
  type        = number
  default     = 30
}

variable "statements" {
  description = "Who may do what beyond the account's own principals, by statement id; `path` is the part of the bucket."
  type = map(object({
    actions   = list(string)
    condition = optional(object({ test = string, values = list(string), variable = string }))
    path      = optional(string, "/*")
    service   = string
  }))
  default = {}
}
