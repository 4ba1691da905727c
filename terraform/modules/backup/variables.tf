variable "account_id" {
  description = "AWS account that owns the vaults, twelve digits."
  type        = string
}

variable "copy_kms_key_arn" {
  description = "ARN of the KMS key that encrypts the copies, in the region of the copies."
  type        = string
}

variable "copy_region" {
  description = "Region of the provider `aws.copy`, in which the copies are kept. `copy_region` must differ from `region`."
  type        = string

  validation {
    condition     = var.copy_region != var.region
    error_message = "copy_region must differ from region, because a regional failure would destroy a copy in the same region together with the original."
  }
}

variable "force_destroy" {
  description = "Whether Terraform deletes the vaults even if the vaults contain recovery points. Set `force_destroy` only for environments below production."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the recovery points."
  type        = string
}

variable "lock" {
  description = "Whether the vault and the vault of the copies are locked, so that recovery points cannot be deleted early. Switch the lock off only for an environment that `destroy` must remove completely."
  type        = bool
  default     = true
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the default provider, in which the backups are kept."
  type        = string
}

variable "resources" {
  description = "ARNs of the tables and clusters to back up, each by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.resources) > 0
    error_message = "resources is empty: add at least one table or cluster."
  }
}

variable "retention_days" {
  description = "Days for which the daily recovery points (`daily`), the monthly recovery points (`monthly`) and the copies of the daily recovery points (`copies`) are kept."
  type = object({
    copies  = optional(number, 90)
    daily   = optional(number, 35)
    monthly = optional(number, 365)
  })
  default = {}

  validation {
    condition     = var.retention_days.daily >= 7 && var.retention_days.copies >= var.retention_days.daily
    error_message = "retention_days.daily must be at least 7, and retention_days.copies must not be below retention_days.daily."
  }
}
