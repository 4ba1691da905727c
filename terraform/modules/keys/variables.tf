variable "account_id" {
  description = "Account that owns the keys, twelve digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "deletion_window_days" {
  description = "Days between the order to delete a key and its end; in that time the order can be taken back."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days must be 7 to 30."
  }
}

variable "existing" {
  description = "ARNs of keys that exist already, by purpose; they pass through to the output, so that a stack reads every key from one place."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for purpose, arn in var.existing : can(regex("^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "existing must hold ARNs of keys, arn:aws:kms:<region>:<account>:key/<id>, not of aliases."
  }

  validation {
    condition     = length(setintersection(keys(var.existing), keys(var.keys))) == 0
    error_message = "existing and keys hold the same purpose: remove it from one."
  }
}

variable "keys" {
  description = "Keys by purpose. `services`: AWS services that use the key for this account's resources (`logs`, `sns`, `cloudwatch`, `events`, `backup`). `multi_region`: replicas may be made in other regions. `primary_key_arn`: make a replica of that key in this region instead of a key of its own."
  type = map(object({
    description     = string
    multi_region    = optional(bool, false)
    primary_key_arn = optional(string)
    services        = optional(set(string), [])
  }))
  default = {}

  validation {
    condition     = alltrue([for key in var.keys : alltrue([for service in key.services : contains(["backup", "cloudwatch", "events", "logs", "sns"], service)])])
    error_message = "keys.*.services may hold backup, cloudwatch, events, logs and sns."
  }
}

variable "name" {
  description = "Prefix of every alias, `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the provider; CloudWatch Logs uses a key under a name of its own in each region."
  type        = string
}
