variable "definition" {
  description = "The section `identity` of data-plane.yaml."
  type = object({
    access_token_minutes = number
    internal_group       = optional(string, "internal")
    password_policy = object({
      lowercase      = bool
      minimum_length = number
      numbers        = bool
      symbols        = bool
      uppercase      = bool
    })
    refresh_token_days  = number
    username_attributes = list(string)
  })

  validation {
    condition     = var.definition.password_policy.minimum_length >= 12
    error_message = "definition.password_policy.minimum_length must be at least 12."
  }

  validation {
    condition     = var.definition.access_token_minutes >= 5 && var.definition.access_token_minutes <= 1440
    error_message = "definition.access_token_minutes must be 5 to 1440."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the user pool, which contains the accounts of all players."
  type        = bool
  default     = true
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "region" {
  description = "Region of the pool, which is part of the issuer's URL."
  type        = string
}

variable "sender" {
  description = "Sender of the mail with codes: the output `sender` of the module `mail`."
  type = object({
    address           = string
    configuration_set = string
    identity_arn      = string
  })
}

variable "threat_protection" {
  description = "Protection against stolen passwords: `ENFORCED` blocks risky log-ins, and `AUDIT` only records them. `ENFORCED` and `AUDIT` need the tier PLUS, which AWS bills for each active player. `OFF` uses the cheaper tier ESSENTIALS."
  type        = string
  default     = "ENFORCED"

  validation {
    condition     = contains(["AUDIT", "ENFORCED", "OFF"], var.threat_protection)
    error_message = "threat_protection must be ENFORCED, AUDIT or OFF."
  }
}
