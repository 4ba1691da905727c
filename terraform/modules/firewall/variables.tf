variable "associations" {
  description = "ARNs of the load balancers or of the user pool that the web ACL protects, each by a name. A CloudFront distribution is not in `associations`, because the distribution's own configuration names the web ACL."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.associations) == 0 || var.scope == "REGIONAL"
    error_message = "associations need scope REGIONAL. For a CloudFront distribution, pass the output arn as its web_acl_id."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in the provider's region that encrypts the logs."
  type        = string
}

variable "load_tests" {
  description = "Whether load tests of `mjctl loadtest` may pass the rate limit, by a token that mjctl writes into a pattern set."
  type        = bool
  default     = false

  validation {
    condition     = !var.load_tests || var.scope == "REGIONAL"
    error_message = "load_tests needs scope REGIONAL, because mjctl lets load tests pass only the firewall of a load balancer."
  }
}

variable "log_retention_days" {
  description = "Number of days for which logs of blocked requests are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "native_clients" {
  description = "Whether requests without the header `User-Agent` pass, which many native clients do not send. WAF then counts the requests without blocking them."
  type        = bool
  default     = false
}

variable "rate_limit" {
  description = "Number of requests in five minutes after which an address is blocked."
  type        = number
  default     = 2000

  validation {
    condition     = var.rate_limit >= 100
    error_message = "rate_limit must be at least 100 requests in five minutes."
  }
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "scope" {
  description = "`REGIONAL` for load balancers, or `CLOUDFRONT` for distributions. A web ACL of scope `CLOUDFRONT` must be created in us-east-1."
  type        = string

  validation {
    condition     = contains(["CLOUDFRONT", "REGIONAL"], var.scope)
    error_message = "scope must be REGIONAL or CLOUDFRONT."
  }

  validation {
    condition     = var.scope != "CLOUDFRONT" || var.region == "us-east-1"
    error_message = "scope CLOUDFRONT needs region us-east-1 and a provider of that region. With scope CLOUDFRONT and another region, the plan would succeed and the apply would fail."
  }
}

variable "shield_protections" {
  description = "ARNs of the resources under Shield Advanced, each by a name. The account must subscribe to Shield Advanced for a year, at 3,000 USD a month. Shield Standard protects all resources at no cost."
  type        = map(string)
  default     = {}
}

variable "token_operations" {
  description = "Operations of Cognito that a web ACL for a user pool allows. The web ACL blocks all other requests except those for the public keys, and has no rate limit and no managed rules. Without `token_operations`, the web ACL is for load balancers or distributions."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.token_operations) == 0 || (var.scope == "REGIONAL" && !var.load_tests)
    error_message = "token_operations needs scope REGIONAL and excludes load_tests, because a user pool has no rate limit."
  }

  validation {
    condition     = alltrue([for operation in var.token_operations : can(regex("^[A-Za-z]+$", operation))])
    error_message = "token_operations must contain names of operations, for example GetUser, and no patterns."
  }

  # WAF limits the length of a pattern: https://docs.aws.amazon.com/waf/latest/developerguide/limits.html
  validation {
    condition     = length(join("|", var.token_operations)) <= 190
    error_message = "The names in token_operations must have at most 190 characters together, because a pattern of WAF has at most 200."
  }
}
