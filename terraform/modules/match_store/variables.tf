variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the tables."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every table: `<project>-<environment>`."
  type        = string
}

variable "tables" {
  description = "The section `tables` of data-plane.yaml."
  type = map(object({
    attributes = map(string)
    global_indexes = optional(map(object({
      hash_key   = string
      projection = optional(string, "ALL")
      range_key  = optional(string)
    })), {})
    hash_key      = string
    range_key     = optional(string)
    ttl_attribute = string
  }))

  validation {
    condition = alltrue(flatten([for table in var.tables : [
      contains(keys(table.attributes), table.hash_key),
      table.range_key == null ? true : contains(keys(table.attributes), table.range_key),
      [for index in table.global_indexes : contains(keys(table.attributes), index.hash_key)],
    ]]))
    error_message = "A key in tables names an attribute that `attributes` does not contain: add the attribute with its type S, N or B."
  }
}
