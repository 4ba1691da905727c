variable "certificate_arn" {
  description = "Validated certificate of this region for domain_name."
  type        = string
}

variable "cors_allow_origins" {
  description = "Origins of web clients that are not served from the API's own domain."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_allow_origins : startswith(origin, "https://")])
    error_message = "cors_allow_origins must begin with https://; a wildcard is not offered."
  }
}

variable "domain_name" {
  description = "Name that players use, the same in every region; the generated name is switched off, so that nobody goes around it."
  type        = string
}

variable "jwt" {
  description = "Whose tokens open the routes with `authorized`."
  type = object({
    audience = string
    issuer   = string
  })
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts access logs."
  type        = string
}

variable "log_retention_days" {
  description = "Days that access logs are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "routes" {
  description = "Routes by `METHOD /path`: the function that answers (a key of `targets`), and whether a player's token is demanded."
  type = map(object({
    authorized = bool
    target     = string
  }))

  validation {
    condition     = alltrue([for route, _ in var.routes : can(regex("^(DELETE|GET|PATCH|POST|PUT) /", route))])
    error_message = "routes: a key must be a method, one space and a path, e.g. `POST /v1/login`."
  }

  validation {
    condition     = alltrue([for route in var.routes : contains(keys(var.targets), route.target)])
    error_message = "routes: a target is not in `targets`; add the function there or correct the name."
  }
}

variable "targets" {
  description = "Functions by name: invoke ARN and physical name."
  type = map(object({
    function_name = string
    invoke_arn    = string
  }))
}

variable "throttle" {
  description = "Requests per second over all players of the region, and the burst above it."
  type = object({
    burst                 = optional(number, 1000)
    rate_limit_per_second = optional(number, 500)
  })
  default = {}

  validation {
    condition     = var.throttle.burst >= var.throttle.rate_limit_per_second
    error_message = "throttle.burst is below rate_limit_per_second: raise burst."
  }
}
