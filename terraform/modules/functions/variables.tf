variable "account_id" {
  description = "Account of the functions."
  type        = string
}

variable "functions" {
  description = <<-EOT
    Functions by name. `handler`: dotted path in the package. `statements`: what its role may do beyond its own logs,
    network interfaces and dead-letter queue. `queue`: an SQS queue it consumes, in batches with partial failure.
    `vpc`: whether it runs in the private subnets.
  EOT
  type = map(object({
    environment          = optional(map(string), {})
    handler              = string
    memory_mb            = optional(number, 512)
    reserved_concurrency = number
    statements = optional(map(object({
      actions   = list(string)
      condition = optional(object({ test = string, values = list(string), variable = string }))
      resources = list(string)
    })), {})
    queue = optional(object({
      arn             = string
      batch_size      = optional(number, 10)
      max_concurrency = optional(number, 10)
    }))
    timeout_seconds = optional(number, 10)
    vpc             = optional(bool, false)
  }))

  validation {
    condition     = alltrue([for function in var.functions : function.reserved_concurrency >= 1])
    error_message = "functions.*.reserved_concurrency must be at least 1: one function must not take the account's whole concurrency."
  }

  validation {
    condition     = alltrue([for function in var.functions : function.queue == null ? true : function.queue.max_concurrency <= function.reserved_concurrency])
    error_message = "functions.*.queue.max_concurrency is above reserved_concurrency: messages would be throttled into the dead-letter queue. Raise reserved_concurrency."
  }
}

variable "kms_key_arn" {
  description = "Key of this region for logs, environment and dead-letter queues."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "Where functions with `vpc` run."
  type = object({
    cidr       = string
    subnet_ids = list(string)
    vpc_id     = string
  })
}

variable "package" {
  description = "Zip file that `mjctl package` made, and its SHA-256 (base64): code is referenced by digest."
  type = object({
    architecture = optional(string, "x86_64")
    path         = string
    sha256       = string
  })

  validation {
    condition     = contains(["arm64", "x86_64"], var.package.architecture)
    error_message = "package.architecture must be x86_64 or arm64, as the package was built."
  }
}

variable "region" {
  description = "Region of the provider; part of role names."
  type        = string
}

variable "runtime" {
  description = "Lambda runtime."
  type        = string
  default     = "python3.13"
}
