variable "account_id" {
  description = "AWS account that owns the network, twelve digits."
  type        = string
}

variable "cidr" {
  description = "IPv4 range of the VPC, from /16 to /20. The module divides the range into three tiers of up to six zones."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr must be an IPv4 range from /16 to /20, for example 10.10.0.0/16. A smaller range has no room for three tiers in six zones."
  }
}

variable "flow_log_retention_days" {
  description = "Number of days for which VPC flow logs are kept."
  type        = number
  default     = 90
}

variable "interface_endpoints" {
  description = "AWS services that get a private interface endpoint in every zone. S3 and DynamoDB always have gateway endpoints, at no cost."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs"]
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the flow logs."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 22 characters of a-z, 0-9 and '-', because longer names exceed the 40 characters of a cache id: shorten project or environment."
  }
}

variable "nat" {
  description = "`per_zone`: a NAT gateway in every zone, so that the loss of a zone disconnects no other zone. `single`: one NAT gateway for all zones, which costs less, for development."
  type        = string
  default     = "per_zone"

  validation {
    condition     = contains(["per_zone", "single"], var.nat)
    error_message = "nat must be per_zone or single."
  }
}

variable "region" {
  description = "Region of the provider, for example us-east-1."
  type        = string
}

variable "zones" {
  description = "Three to six availability zones of the region."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 3 && length(var.zones) <= 6
    error_message = "zones must contain three to six availability zones, because with two zones the loss of a zone leaves no majority: add a zone."
  }

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "zones contains a zone twice: remove the repetition."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones contains a zone of another region: each name must begin with the value of region."
  }
}
