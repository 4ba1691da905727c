variable "account_id" {
  description = "Account of the network."
  type        = string
}

variable "cidr" {
  description = "IPv4 range of the VPC, /16 to /20; three tiers of up to six zones are cut from it."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr must be an IPv4 range from /16 to /20, e.g. 10.10.0.0/16: smaller ranges do not hold three tiers in six zones."
  }
}

variable "flow_log_retention_days" {
  description = "Days that VPC flow logs are kept."
  type        = number
  default     = 90
}

variable "interface_endpoints" {
  description = "AWS services reached privately through an interface endpoint in every zone. S3 and DynamoDB have gateway endpoints always, at no cost."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs"]
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow logs."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 22 characters of a-z, 0-9 and '-': shorten project or environment, or names such as the cache's (40) overflow."
  }
}

variable "nat" {
  description = "`per_zone`: a NAT gateway in every zone, so that losing one zone leaves the rest connected. `single`: one for all, cheaper, for development."
  type        = string
  default     = "per_zone"

  validation {
    condition     = contains(["per_zone", "single"], var.nat)
    error_message = "nat must be per_zone or single."
  }
}

variable "region" {
  description = "Region of the provider, e.g. us-east-1."
  type        = string
}

variable "zones" {
  description = "Availability zones, three to six of the region."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 3 && length(var.zones) <= 6
    error_message = "zones must name three to six availability zones: with two, losing one leaves no majority and no spare. Add a zone."
  }

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "zones names a zone twice: remove the repetition."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones holds a zone of another region: each must begin with the value of region."
  }
}
