variable "deletion_protection" {
  description = "Whether AWS refuses to delete the replicas."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the replicas."
  type        = string
}

variable "region" {
  description = "Region of the provider, which must differ from the region of the tables."
  type        = string

  validation {
    condition     = alltrue([for table in var.tables : split(":", table.arn)[3] != var.region])
    error_message = "region is the region of the tables, which needs no replica: check primary_region."
  }
}

variable "tables" {
  description = "Tables in the primary region by their key in data-plane.yaml."
  type = map(object({
    arn  = string
    name = string
  }))
}
