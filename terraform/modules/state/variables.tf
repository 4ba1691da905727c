variable "bucket" {
  description = "Name of the state bucket, unique in the world."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts states and plans: they may hold what an operator must not see."
  type        = string
}

variable "noncurrent_days" {
  description = "Days that an overwritten state can be brought back."
  type        = number
  default     = 365

  validation {
    condition     = var.noncurrent_days >= 30
    error_message = "noncurrent_days must be at least 30: an old state is the only way back from a damaged one."
  }
}
