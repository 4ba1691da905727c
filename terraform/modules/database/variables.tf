variable "allowed_security_groups" {
  description = "Ids of the security groups whose members may connect, each by the name of the client."
  type        = map(string)
}

variable "backup_retention_days" {
  description = "Number of days for which continuous backups (point-in-time recovery) are kept."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 7 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 7 to 35."
  }
}

variable "capacity" {
  description = "Minimum and maximum of Aurora Serverless v2 capacity units for each instance. `capacity` needs instance_class db.serverless."
  type = object({
    max = number
    min = number
  })
  default = null

  validation {
    condition     = var.capacity == null ? true : var.capacity.min <= var.capacity.max
    error_message = "capacity.min must not be above capacity.max: lower min or raise max."
  }

  # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
  validation {
    condition     = var.global.global_cluster_id == null || try(var.capacity.min, 8) >= 8
    error_message = "capacity.min must be at least 8 in an environment with several regions, because a global database needs 8 capacity units: raise capacity.min, or use one region."
  }

  validation {
    condition     = (var.capacity != null) == (var.instance_class == "db.serverless")
    error_message = "capacity and instance_class db.serverless belong together: set both or neither."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the cluster. Without deletion protection, Aurora also takes no final snapshot."
  type        = bool
  default     = true
}

variable "global" {
  description = "Values that all regional clusters share: the outputs of the module `database_global`."
  type = object({
    database_name     = string
    engine_version    = string
    global_cluster_id = optional(string)
    password_version  = number
    secret_arn        = string
    username          = string
  })
}

variable "instance_class" {
  description = "Instance class of every instance, for example db.r7g.large or db.serverless."
  type        = string
  default     = "db.r7g.large"

  # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database.configuration.requirements.html
  validation {
    condition     = var.global.global_cluster_id == null || can(regex("^db\\.(r|x|serverless)", var.instance_class))
    error_message = "instance_class must be memory-optimized, for example db.r7g.large, in an environment with several regions, because Aurora refuses other classes in a global database: change instance_class, or use one region."
  }
}

variable "instances" {
  description = "Number of instances, distributed over the zones. One instance writes, and the others read and are ready for a failover."
  type        = number
  default     = 2

  validation {
    condition     = var.instances >= 2 && var.instances <= 15
    error_message = "instances must be 2 to 15, because a single instance has no instance to fail over to."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts storage, snapshots, logs and performance data."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which PostgreSQL logs are kept."
  type        = number
  default     = 90
}

variable "maintenance_window" {
  description = "Weekly hour in UTC in which AWS installs changes on the cluster, for example `tue:05:00-tue:06:00`. Regions should have different days."
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

variable "region" {
  description = "Region of the provider, which is part of every identifier."
  type        = string
}

variable "role" {
  description = "Role for which the cluster was created: `primary` contains the database, `secondary` is a copy of the primary cluster in another region."
  type        = string
  default     = "primary"

  validation {
    condition     = contains(["primary", "secondary"], var.role)
    error_message = "role must be primary or secondary."
  }

  validation {
    condition     = var.role == "primary" || var.global.global_cluster_id != null
    error_message = "A secondary cluster needs a global cluster: add this region to `regions` of the stack foundation and apply that stack first."
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

variable "vpc_id" {
  description = "Id of the VPC that contains the subnets."
  type        = string
}

variable "writer" {
  description = "Whether this region contains the writer of the global cluster now. If `writer` is null, the primary cluster is the writer. Set `writer` after a failover."
  type        = bool
  default     = null
}
