variable "bucket" {
  description = "Name of the state bucket, which must be unique on AWS."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts states and plans, which can contain secrets."
  type        = string
}

variable "noncurrent_days" {
  description = "Number of days for which an overwritten state can be restored."
  type        = number
  default     = 365

  validation {
    condition     = var.noncurrent_days >= 30
    error_message = "noncurrent_days must be at least 30, because only an older state can replace a damaged state."
  }
}
