variable "account_id" {
  description = "AWS account that owns the cache, twelve digits."
  type        = string
}

variable "allowed_security_groups" {
  description = "Ids of the security groups whose members may connect, each by the name of the client."
  type        = map(string)
}

variable "engine_version" {
  description = "Version of Redis OSS. Version 7 is the first version in which users can log in by IAM."
  type        = string
  default     = "7.1"

  validation {
    condition     = startswith(var.engine_version, "7.")
    error_message = "engine_version must be 7.x, because users log in by IAM, which version 6 does not support."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts data at rest, snapshots and logs."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which the slow log and the engine log are kept."
  type        = number
  default     = 30
}

variable "maintenance_window" {
  description = "Weekly hour in UTC in which AWS replaces nodes of the cache, for example `tue:05:00-tue:06:00`. Regions should have different days."
  type        = string

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]$", var.maintenance_window))
    error_message = "maintenance_window must have the form `tue:05:00-tue:06:00`."
  }
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "node_type" {
  description = "Node type of ElastiCache, for example cache.r7g.large."
  type        = string
  default     = "cache.r7g.large"

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "node_type must begin with `cache.`, for example cache.r7g.large."
  }
}

variable "purpose" {
  description = "`cache`: Redis may evict values to make room. `state`: Redis keeps running matches, and refuses writes when its memory is full."
  type        = string

  validation {
    condition     = contains(["cache", "state"], var.purpose)
    error_message = "purpose must be cache or state."
  }
}

variable "region" {
  description = "Region of the provider. The cache's id contains the region, because two regions of an account must not use the same id."
  type        = string

  validation {
    condition     = length("${var.name}-${var.purpose == "state" ? "state-" : ""}${var.region}") <= 40
    error_message = "name and region together exceed the 40 characters of a cache id: shorten project or environment."
  }
}

variable "replicas" {
  description = "Number of replicas in addition to the primary of each shard, each in another zone."
  type        = number
  default     = 2

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 5
    error_message = "replicas must be 1 to 5, because without a replica the loss of a node ends the running matches."
  }
}

variable "shards" {
  description = "Number of shards of the state store, which share the matches. A cache has no shards."
  type        = number
  default     = 1

  validation {
    condition     = var.shards >= 1 && var.shards <= 90 && var.shards == floor(var.shards)
    error_message = "shards must be a whole number from 1 to 90."
  }

  validation {
    condition     = var.shards == 1 || var.purpose == "state"
    error_message = "shards must be 1 for a cache: only the state store runs in cluster mode."
  }
}

variable "snapshot_retention_days" {
  description = "Number of days for which daily snapshots are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.snapshot_retention_days >= 1 && var.snapshot_retention_days <= 35
    error_message = "snapshot_retention_days must be 1 to 35."
  }
}

variable "subnet_ids" {
  description = "Ids of the data subnets by zone, for at least three zones."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 3
    error_message = "subnet_ids must contain subnets of at least three zones: add a zone."
  }
}

variable "users" {
  description = "Users by name, who log in with their IAM role and have no password. `access`: a Redis ACL string that begins with `on`."
  type        = map(object({ access = string }))

  validation {
    condition     = alltrue([for user in var.users : startswith(user.access, "on ")])
    error_message = "users.*.access must be a Redis ACL string that begins with `on`, for example `on ~cache:* +@read`."
  }

  validation {
    condition     = !contains(keys(var.users), "default")
    error_message = "users must not contain `default`, because this module defines that user without permissions."
  }
}

variable "vpc_id" {
  description = "Id of the VPC that contains the subnets."
  type        = string
}
