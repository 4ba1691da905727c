variable "deletion_protection" {
  description = "Refuse to delete the replicas."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts the replicas."
  type        = string
}

variable "region" {
  description = "Region of the provider; another one than the tables'."
  type        = string

  validation {
    condition     = alltrue([for table in var.tables : split(":", table.arn)[3] != var.region])
    error_message = "region is the tables' own: the region stack of the primary region has no replica. Check primary_region."
  }
}

variable "tables" {
  description = "Tables of the primary region, by key of data-plane.yaml."
  type = map(object({
    arn  = string
    name = string
  }))
}
