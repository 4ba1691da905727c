variable "database_name" {
  description = "Name of the database inside PostgreSQL."
  type        = string
  default     = "game"
}

variable "deletion_protection" {
  description = "Refuse to delete the global cluster."
  type        = bool
  default     = true
}

variable "engine_version" {
  description = "Aurora PostgreSQL version, e.g. 16.8; the same in every region."
  type        = string

  validation {
    condition     = can(regex("^1[5-9]\\.[0-9]+$", var.engine_version))
    error_message = "engine_version must be an Aurora PostgreSQL version from 15 on, e.g. 16.8."
  }
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts the master secret."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "password_version" {
  description = "Raise it to change the master password; apply foundation, then the primary region."
  type        = number
  default     = 1
}

variable "recovery_window_days" {
  description = "Days in which a deleted secret can be restored; 0 deletes it at once."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days must be 0 or 7 to 30."
  }
}

variable "replica_regions" {
  description = "Further regions of the database; the secret is replicated to each. With none there is no global cluster."
  type        = set(string)
  default     = []
}

variable "username" {
  description = "Master user."
  type        = string
  default     = "game"
}
