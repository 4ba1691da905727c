variable "account_id" {
  description = "Account of the cache."
  type        = string
}

variable "allowed_security_groups" {
  description = "Security groups that may connect, by a name of the client."
  type        = map(string)
}

variable "engine_version" {
  description = "Redis OSS version; 7 is the first with log-in by IAM."
  type        = string
  default     = "7.1"

  validation {
    condition     = startswith(var.engine_version, "7.")
    error_message = "engine_version must be 7.x: users log in by IAM, which 6 cannot."
  }
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts data at rest, snapshots and logs."
  type        = string
}

variable "log_retention_days" {
  description = "Days that slow and engine logs are kept."
  type        = number
  default     = 30
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "node_type" {
  description = "Node type, e.g. cache.r7g.large."
  type        = string
  default     = "cache.r7g.large"

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "node_type must begin with cache., e.g. cache.r7g.large."
  }
}

variable "region" {
  description = "Region of the provider; part of the id, which must not stand in two regions."
  type        = string

  validation {
    condition     = length("${var.name}-${var.region}") <= 40
    error_message = "name and region together exceed the 40 characters of a cache id: shorten project or environment."
  }
}

variable "replicas" {
  description = "Replicas beside the primary; each in another zone."
  type        = number
  default     = 2

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 5
    error_message = "replicas must be 1 to 5: without one, losing a node loses the running matches."
  }
}

variable "snapshot_retention_days" {
  description = "Days that daily snapshots are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.snapshot_retention_days >= 1 && var.snapshot_retention_days <= 35
    error_message = "snapshot_retention_days must be 1 to 35."
  }
}

variable "subnet_ids" {
  description = "Subnets by zone, at least three."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 3
    error_message = "subnet_ids must hold subnets of at least three zones: add a zone."
  }
}

variable "users" {
  description = "Users that log in with their IAM role (no password exists), by name; `access` is a Redis ACL string that begins with `on`."
  type        = map(object({ access = string }))

  validation {
    condition     = alltrue([for user in var.users : startswith(user.access, "on ")])
    error_message = "users.*.access must be an ACL string that begins with `on`, e.g. `on ~cache:* +@read`."
  }

  validation {
    condition     = !contains(keys(var.users), "default")
    error_message = "users must not hold `default`: it is made here, switched off."
  }
}

variable "vpc_id" {
  description = "VPC of the subnets."
  type        = string
}
