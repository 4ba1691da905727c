variable "certificate_arn" {
  description = "ARN of a validated certificate in this region for `domain_name` and `regional_domain_name`."
  type        = string
}

variable "cors_allow_origins" {
  description = "Origins of web clients outside of the API's domain, from which the API allows cross-origin requests."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_allow_origins : startswith(origin, "https://")])
    error_message = "Each of cors_allow_origins must begin with https://, so the wildcard `*` is not allowed."
  }
}

variable "domain_name" {
  description = "Host name at which players call the API, the same in every region. The host name that API Gateway generates is switched off, so that clients reach the API only by `domain_name` and `regional_domain_name`."
  type        = string
}

variable "jwt" {
  description = "Issuer and audience of the player tokens that the routes with `authorized = true` accept."
  type = object({
    audience = string
    issuer   = string
  })
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the access logs."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which access logs are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "regional_domain_name" {
  description = "Host name that leads to the API of this region only, so that operators can test a region that DNS gives to no player."
  type        = string

  validation {
    condition     = var.regional_domain_name != var.domain_name
    error_message = "regional_domain_name must differ from domain_name, which leads to the APIs of all regions."
  }
}

variable "routes" {
  description = "Routes by `METHOD /path`. `target`: the key in `targets` of the function that answers the route. `authorized`: whether the route requires a player's token."
  type = map(object({
    authorized = bool
    target     = string
  }))

  validation {
    condition     = alltrue([for route, _ in var.routes : can(regex("^(DELETE|GET|PATCH|POST|PUT) /", route))])
    error_message = "A key of routes must be an HTTP method, one space and a path, for example `POST /v1/login`."
  }

  validation {
    condition     = alltrue([for route in var.routes : contains(keys(var.targets), route.target)])
    error_message = "A route has a target that `targets` does not contain: add the function to `targets`, or correct the target."
  }
}

variable "targets" {
  description = "Functions that answer routes, by a short name. Each function has the ARN that API Gateway invokes and the function's name in Lambda."
  type = map(object({
    function_name = string
    invoke_arn    = string
  }))
}

variable "throttle" {
  description = "Limits for the requests of all players in the region together: the requests per second, and the largest number of requests in a burst."
  type = object({
    burst                 = optional(number, 1000)
    rate_limit_per_second = optional(number, 500)
  })
  default = {}

  validation {
    condition     = var.throttle.burst >= var.throttle.rate_limit_per_second
    error_message = "throttle.burst must not be below throttle.rate_limit_per_second: raise burst."
  }
}
