variable "account_id" {
  description = "AWS account that owns the keys, twelve digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "deletion_window_days" {
  description = "Number of days that KMS waits before it deletes a key. During these days an operator can cancel the deletion of the key."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days must be 7 to 30."
  }
}

variable "existing" {
  description = "ARN of each key that was created elsewhere, by the purpose of the key. The output `arns` contains these ARNs beside the ARNs of the module's own keys."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for purpose, arn in var.existing : can(regex("^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "existing must contain ARNs of keys, arn:aws:kms:<region>:<account>:key/<id>. ARNs of aliases are not allowed in existing."
  }

  validation {
    condition     = length(setintersection(keys(var.existing), keys(var.keys))) == 0
    error_message = "existing and keys contain the same purpose: remove the purpose from existing or from keys."
  }
}

variable "keys" {
  description = "Keys by purpose. `services`: the AWS services that may use the key for resources of this account (`logs`, `sns`, `cloudwatch`, `events`, `backup`). `multi_region`: other regions may have replicas of the key. `hmac`: the key makes message authentication codes and encrypts nothing. `primary_key_arn`: the multi-region key of which the module creates a replica, instead of a new key."
  type = map(object({
    description     = string
    hmac            = optional(bool, false)
    multi_region    = optional(bool, false)
    primary_key_arn = optional(string)
    services        = optional(set(string), [])
  }))
  default = {}

  validation {
    condition     = alltrue([for key in var.keys : alltrue([for service in key.services : contains(["backup", "cloudwatch", "events", "logs", "sns"], service)])])
    error_message = "keys.*.services may contain only backup, cloudwatch, events, logs and sns."
  }
}

variable "name" {
  description = "Prefix of every alias: `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the provider. The key policy contains the region, because CloudWatch Logs has another principal in each region."
  type        = string
}
