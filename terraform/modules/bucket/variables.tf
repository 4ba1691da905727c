variable "bucket" {
  description = "Name of the bucket, which must be unique on AWS."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must have 3 to 63 characters of a-z, 0-9 and '-': shorten project or environment."
  }
}

variable "expire_days" {
  description = "Number of days after which S3 deletes an object. If `expire_days` is null, S3 keeps all objects."
  type        = number
  default     = null
}

variable "force_destroy" {
  description = "Whether Terraform deletes the bucket even if the bucket contains objects."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the objects. If `kms_key_arn` is null, S3's key encrypts the objects, as load balancer logs and a public CDN require."
  type        = string
  default     = null
}

variable "noncurrent_days" {
  description = "Number of days for which an overwritten or deleted object can be restored."
  type        = number
  default     = 30
}

variable "statements" {
  description = "Permissions for AWS services, by statement id, in addition to the permissions of the account's own principals. `path`: the part of the bucket that a statement covers."
  type = map(object({
    actions   = list(string)
    condition = optional(object({ test = string, values = list(string), variable = string }))
    path      = optional(string, "/*")
    service   = string
  }))
  default = {}
}
