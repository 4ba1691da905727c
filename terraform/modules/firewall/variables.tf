variable "associations" {
  description = "Load balancers that the ACL stands before, by a name; a distribution names the ACL itself."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.associations) == 0 || var.scope == "REGIONAL"
    error_message = "associations are for scope REGIONAL; a CloudFront distribution takes the output arn as its web_acl_id."
  }
}

variable "kms_key_arn" {
  description = "Key of the provider's region that encrypts logs."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs of blocked requests are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "rate_limit" {
  description = "Requests of one address in five minutes before it is blocked."
  type        = number
  default     = 2000

  validation {
    condition     = var.rate_limit >= 100
    error_message = "rate_limit must be at least 100."
  }
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "scope" {
  description = "`REGIONAL` for load balancers, `CLOUDFRONT` for distributions, which must be made in us-east-1."
  type        = string

  validation {
    condition     = contains(["CLOUDFRONT", "REGIONAL"], var.scope)
    error_message = "scope must be REGIONAL or CLOUDFRONT."
  }

  validation {
    condition     = var.scope != "CLOUDFRONT" || var.region == "us-east-1"
    error_message = "scope CLOUDFRONT needs region us-east-1 and a provider of that region: elsewhere the plan is clean and the apply fails."
  }
}

variable "shield_protections" {
  description = "Resources under Shield Advanced, by a name; the account must have subscribed, which costs 3,000 USD a month for a year. Shield Standard protects everything at no cost."
  type        = map(string)
  default     = {}
}
