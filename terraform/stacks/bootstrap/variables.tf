variable "account_id" {
  description = "Account of the bucket."
  type        = string
}

variable "bucket" {
  description = "Name of the state bucket, unique in the world, e.g. arena-terraform-state-123456789012."
  type        = string
}

variable "project" {
  description = "Project; its environments share the bucket."
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
