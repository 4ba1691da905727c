variable "database_name" {
  description = "Name of the database inside PostgreSQL."
  type        = string
  default     = "game"
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the global cluster."
  type        = bool
  default     = true
}

variable "engine_version" {
  description = "Version of Aurora PostgreSQL in every region, for example 16.8."
  type        = string

  validation {
    condition     = can(regex("^1[5-9]\\.[0-9]+$", var.engine_version))
    error_message = "engine_version must be a version of Aurora PostgreSQL from 15 on, for example 16.8."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the master secret."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "password_version" {
  description = "Version number of the master password. To change the password, raise the number, then apply the stack foundation and the primary region."
  type        = number
  default     = 1
}

variable "recovery_window_days" {
  description = "Number of days in which a deleted secret can be restored. If the number is 0, AWS deletes the secret at once."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days must be 0, or 7 to 30."
  }
}

variable "replica_regions" {
  description = "Regions of the database in addition to the primary region. AWS replicates the master secret to each region of the set. An empty set creates no global cluster."
  type        = set(string)
  default     = []
}

variable "username" {
  description = "Name of the database's master user."
  type        = string
  default     = "game"
}
