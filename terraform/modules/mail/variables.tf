variable "domain" {
  description = "Domain of the environment, from which players get mail."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "zone_id" {
  description = "Id of the domain's hosted zone. The module waits until SES has found the DKIM records in the zone, for which the parent zone must delegate to the zone."
  type        = string
}
