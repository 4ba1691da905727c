variable "domain" {
  description = "Domain of the environment, for example arena.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a host name in lower case, for example arena.example.com."
  }
}

variable "force_destroy" {
  description = "Whether Terraform deletes the zone even if the zone contains records that Terraform did not create."
  type        = bool
  default     = false
}

variable "zone_id" {
  description = "Id of the public hosted zone of the domain. If `zone_id` is null, the module creates a zone, and the parent zone must delegate to the output `name_servers`."
  type        = string
  default     = null
}
