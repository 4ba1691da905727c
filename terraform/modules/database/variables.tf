variable "allowed_security_groups" {
  description = "Security groups that may connect, by a name of the client."
  type        = map(string)
}

variable "backup_retention_days" {
  description = "Days of continuous backup (point in time recovery)."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 7 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 7 to 35."
  }
}

variable "capacity" {
  description = "Serverless v2 capacity units of each instance; only with instance_class db.serverless."
  type = object({
    max = number
    min = number
  })
  default = null

  validation {
    condition     = var.capacity == null ? true : var.capacity.min <= var.capacity.max
    error_message = "capacity.min is above capacity.max: lower min or raise max."
  }

  validation {
    condition     = (var.capacity != null) == (var.instance_class == "db.serverless")
    error_message = "capacity and instance_class db.serverless belong together: give both or neither."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the cluster; without it no final snapshot is taken either."
  type        = bool
  default     = true
}

variable "global" {
  description = "Output of the module database_global."
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
  description = "Class of each instance, e.g. db.r7g.large or db.serverless."
  type        = string
  default     = "db.r7g.large"
}

variable "instances" {
  description = "Instances, each in the next zone; one writes, the others read and stand by."
  type        = number
  default     = 2

  validation {
    condition     = var.instances >= 2 && var.instances <= 15
    error_message = "instances must be 2 to 15: a single one has nothing to fail over to."
  }
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts storage, snapshots, logs and performance data."
  type        = string
}

variable "log_retention_days" {
  description = "Days that PostgreSQL logs are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the provider; part of every identifier."
  type        = string
}

variable "role" {
  description = "How the cluster was made: `primary` with the database in it, `secondary` as its copy in another region."
  type        = string
  default     = "primary"

  validation {
    condition     = contains(["primary", "secondary"], var.role)
    error_message = "role must be primary or secondary."
  }

  validation {
    condition     = var.role == "primary" || var.global.global_cluster_id != null
    error_message = "A secondary cluster needs a global cluster: give foundation this region too (regions), and apply it first."
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

variable "vpc_id" {
  description = "VPC of the subnets."
  type        = string
}

variable "writer" {
  description = "Whether the global cluster is written here now; null while that is where the primary is. Say so after a failover."
  type        = bool
  default     = null
}
