variable "account_id" {
  description = "Account of the vaults."
  type        = string
}

variable "copy_kms_key_arn" {
  description = "Key of the copies' region that encrypts the copies."
  type        = string
}

variable "copy_region" {
  description = "Region of the provider aws.copy; another than region."
  type        = string

  validation {
    condition     = var.copy_region != var.region
    error_message = "copy_region must be another region than region: a copy beside the original is lost with it."
  }
}

variable "force_destroy" {
  description = "Delete the vaults although they hold recovery points: for what is not production."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts the recovery points."
  type        = string
}

variable "lock" {
  description = "Lock both vaults, so that nobody deletes a recovery point early. Off only where the vaults must go with the rest."
  type        = bool
  default     = true
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the default provider."
  type        = string
}

variable "resources" {
  description = "ARNs that are backed up, by a name."
  type        = map(string)

  validation {
    condition     = length(var.resources) > 0
    error_message = "resources is empty: name at least one table or cluster."
  }
}

variable "retention_days" {
  description = "Days that daily and monthly recovery points are kept, and the copies of both."
  type = object({
    copies  = optional(number, 90)
    daily   = optional(number, 35)
    monthly = optional(number, 365)
  })
  default = {}

  validation {
    condition     = var.retention_days.daily >= 7 && var.retention_days.copies >= var.retention_days.daily
    error_message = "retention_days.daily must be at least 7, and copies at least daily."
  }
}
