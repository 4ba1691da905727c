variable "account_id" {
  description = "AWS account that owns the bucket, twelve digits."
  type        = string
}

variable "bucket" {
  description = "Name of the state bucket, for example arena-terraform-state-123456789012. The name must be unique on AWS."
  type        = string
}

variable "project" {
  description = "Name of the project. The environments of a project share the bucket."
  type        = string
}

variable "region" {
  description = "Region of the bucket."
  type        = string
}

variable "target" {
  description = "`aws`, or `sandbox` for an emulated AWS."
  type        = string
  default     = "aws"

  validation {
    condition     = contains(["aws", "sandbox"], var.target)
    error_message = "target must be aws or sandbox."
  }
}
