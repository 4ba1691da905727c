variable "account_id" {
  description = "AWS account that owns the task, twelve digits."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket that receives the portable backups of the region."
  type        = string
}

variable "cluster_name" {
  description = "Name of the ECS cluster in which the task runs."
  type        = string
}

variable "data_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the backups' root keys."
  type        = string
}

variable "database_user" {
  description = "User of PostgreSQL, which logs in by IAM. The function `migrate` creates the user."
  type        = string

  validation {
    condition     = endswith(var.database_user, "_backup")
    error_message = "database_user must be the user that `migrate` creates for backups, <project>_<environment>_backup. Backups must not use the master user or the user of the functions."
  }
}

variable "environment" {
  description = "Environment variables of the container (`GAMESERVER_*`), without secrets."
  type        = map(string)
}

variable "image" {
  description = "Image of the game server by digest, `<repository>@sha256:<64 hex digits>`. The task has the image of the game server, because a drill runs the game's migrations."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be referenced by digest, <repository>@sha256:<64 hex digits>. `mjctl package` prints the reference."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the logs and the objects in the bucket."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which the logs of the tasks are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "VPC of the database. The task connects to AWS and to the database, and nothing connects to the task."
  type = object({
    cidr   = string
    vpc_id = string
  })
}

variable "region" {
  description = "Region of the provider, which is part of role names."
  type        = string
}

variable "repository_name" {
  description = "Name of the ECR repository that the execution role may pull the image from."
  type        = string
}

variable "table_arns" {
  description = "ARNs of the DynamoDB tables that the task reads."
  type        = list(string)

  validation {
    condition     = length(var.table_arns) > 0
    error_message = "table_arns must contain at least one table."
  }
}

variable "task" {
  description = "CPU units and MiB of memory of the task. The memory does not grow with the size of the database, because the task streams the rows."
  type        = object({ cpu = optional(number, 1024), memory = optional(number, 2048) })
  default     = {}
}
