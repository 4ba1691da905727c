variable "account_id" {
  description = "Account of the environment; a run with another account's credentials is refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "ci" {
  description = "Pipeline that deploys by OIDC; null makes no roles. `subjects`: who may take the roles `plan`, `deploy` and `drill`."
  type = object({
    issuer            = optional(string, "token.actions.githubusercontent.com")
    state_bucket      = string
    state_kms_key_arn = string
    subjects          = object({ deploy = set(string), drill = optional(set(string), []), plan = set(string) })
  })
  default = null
}

variable "database" {
  description = "Aurora PostgreSQL; raise `password_version` to change the master password."
  type = object({
    engine_version   = optional(string, "16.8")
    password_version = optional(number, 1)
  })
  default = {}
}

variable "domain" {
  description = "Domain of the environment, and its public hosted zone if it exists already."
  type = object({
    name    = string
    zone_id = optional(string)
  })
}

variable "environment" {
  description = "Environment, the name of its file in configs/."
  type        = string

  validation {
    condition     = length("${var.project}-${var.environment}") <= 22
    error_message = "project and environment are too long together: <project>-<environment> may have 22 characters, or names such as the cache's (40) overflow. Shorten one."
  }
}

variable "identity" {
  description = "Log-in of players: `mfa` OPTIONAL or ON; `threat_protection` ENFORCED, AUDIT or OFF."
  type = object({
    mfa               = optional(string, "OPTIONAL")
    threat_protection = optional(string, "ENFORCED")
  })
  default = {}
}

variable "primary_region" {
  description = "Region that takes the database's writes and holds what exists once."
  type        = string

  validation {
    condition     = contains([for region in var.regions : region.name], var.primary_region)
    error_message = "primary_region is not in regions: add it there or choose one of them."
  }
}

variable "project" {
  description = "Project, first part of every name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.project))
    error_message = "project must be lower case letters, digits and '-', beginning with a letter."
  }
}

variable "protect" {
  description = "Refuse to delete what holds players' data. Without it, destroy leaves nothing: for what is not production."
  type        = bool
  default     = true
}

variable "regions" {
  description = "Every region of the environment with its zones and the range of its VPC."
  type = list(object({
    cidr  = string
    name  = string
    zones = list(string)
  }))

  validation {
    condition     = length(var.regions) >= 1
    error_message = "regions is empty: name at least one."
  }

  validation {
    condition     = length(distinct([for region in var.regions : region.name])) == length(var.regions)
    error_message = "regions names a region twice: remove one, or both would own the same resources."
  }

  validation {
    condition     = alltrue([for region in var.regions : length(distinct(region.zones)) >= 3])
    error_message = "regions: each needs at least three distinct zones; add a zone."
  }

  # Two ranges overlap when the shorter prefix, applied to both, gives the same network.
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
    error_message = "regions: two VPC ranges overlap (or one is not a range), so the regions could never be joined. Give each its own, e.g. 10.10.0.0/16 and 10.20.0.0/16."
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
