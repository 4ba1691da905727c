variable "domain" {
  description = "Domain of the environment, e.g. arena.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a host name in lower case, e.g. arena.example.com."
  }
}

variable "force_destroy" {
  description = "Delete the zone although it holds records that Terraform does not know."
  type        = bool
  default     = false
}

variable "zone_id" {
  description = "Public hosted zone that answers for the domain; null makes one, whose name servers the parent zone must then delegate to."
  type        = string
  default     = null
}
