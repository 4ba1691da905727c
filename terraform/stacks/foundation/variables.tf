variable "account_id" {
  description = "AWS account of the environment, twelve digits. Terraform refuses credentials of another account."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "ci" {
  description = "Pipeline that deploys by OIDC. `subjects`: token subjects that may assume the roles `plan`, `deploy` and `drill`. If `ci` is null, the stack creates no roles for a pipeline."
  type = object({
    issuer            = optional(string, "token.actions.githubusercontent.com")
    state_bucket      = string
    state_kms_key_arn = string
    subjects          = object({ deploy = set(string), drill = optional(set(string), []), plan = set(string) })
  })
  default = null
}

variable "database" {
  description = "Version of Aurora PostgreSQL, and the version number of the master password. A higher `password_version` changes the password."
  type = object({
    engine_version   = optional(string, "16.8")
    password_version = optional(number, 1)
  })
  default = {}
}

variable "domain" {
  description = "Domain of the environment, and the id of its public hosted zone if the zone exists already."
  type = object({
    name    = string
    zone_id = optional(string)
  })
}

variable "environment" {
  description = "Name of the environment, which is the name of its file in configs/."
  type        = string

  validation {
    condition     = length("${var.project}-${var.environment}") <= 22
    error_message = "<project>-<environment> must have at most 22 characters, because longer names exceed the 40 characters of a cache id: shorten project or environment."
  }
}

variable "identity" {
  description = "Log-in of players. `threat_protection`: ENFORCED, AUDIT or OFF."
  type = object({
    threat_protection = optional(string, "ENFORCED")
  })
  default = {}
}

variable "primary_region" {
  description = "Region of the resources that exist once in an environment, and of the database's writer until a failover moves the writer."
  type        = string

  validation {
    condition     = contains([for region in var.regions : region.name], var.primary_region)
    error_message = "primary_region is not in regions: add the region to regions, or choose a region of regions."
  }
}

variable "project" {
  description = "Name of the project, the first part of every name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.project))
    error_message = "project must consist of lower-case letters, digits and '-', and begin with a letter."
  }
}

variable "protect" {
  description = "Whether AWS refuses to delete resources with players' data. If `protect` is false, `destroy` removes players' data too. Set `protect` to false only below production."
  type        = bool
  default     = true
}

variable "regions" {
  description = "Every region of the environment with its zones and the IPv4 range of its VPC."
  type = list(object({
    cidr  = string
    name  = string
    zones = list(string)
  }))

  validation {
    condition     = length(var.regions) >= 1
    error_message = "regions is empty: add at least one region."
  }

  validation {
    condition     = length(distinct([for region in var.regions : region.name])) == length(var.regions)
    error_message = "regions contains a region twice, and both entries would own the same resources: remove one."
  }

  validation {
    condition     = alltrue([for region in var.regions : length(distinct(region.zones)) >= 3])
    error_message = "Each of regions needs at least three different zones: add a zone."
  }

  # Two IPv4 ranges overlap if both ranges have the same network under the shorter of the two prefixes.
  validation {
    condition = alltrue(flatten([
      for index, first in var.regions : [
        for second in slice(var.regions, index + 1, length(var.regions)) : try(
          cidrhost("${cidrhost(first.cidr, 0)}/${min(split("/", first.cidr)[1], split("/", second.cidr)[1])}", 0) !=
          cidrhost("${cidrhost(second.cidr, 0)}/${min(split("/", first.cidr)[1], split("/", second.cidr)[1])}", 0),
          false,
        )
      ]
    ]))
    error_message = "Two VPC ranges in regions overlap, or a value is not an IPv4 range. Regions with overlapping ranges cannot be connected. Give each region its own range, for example 10.10.0.0/16 and 10.20.0.0/16."
  }
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
