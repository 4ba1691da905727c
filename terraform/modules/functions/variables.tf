variable "account_id" {
  description = "AWS account that owns the functions, twelve digits."
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
    error_message = "functions.*.reserved_concurrency must be at least 1, because a function without a limit can use the whole concurrency of the account."
  }

  validation {
    condition     = alltrue([for function in var.functions : function.queue == null ? true : function.queue.max_concurrency <= function.reserved_concurrency])
    error_message = "functions.*.queue.max_concurrency must not be above reserved_concurrency, because Lambda would throttle messages into the dead-letter queue. Raise reserved_concurrency."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts logs, environment variables and dead-letter queues."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which the logs of the functions are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "VPC and subnets for the functions with `vpc = true`."
  type = object({
    cidr       = string
    subnet_ids = list(string)
    vpc_id     = string
  })
}

variable "package" {
  description = "Archive that `mjctl package` made: its path, its SHA-256 in base64 and its processor architecture. Terraform updates the functions only if the digest changes."
  type = object({
    architecture = optional(string, "x86_64")
    path         = string
    sha256       = string
  })

  validation {
    condition     = contains(["arm64", "x86_64"], var.package.architecture)
    error_message = "package.architecture must be x86_64 or arm64, the architecture that the archive was built for."
  }
}

variable "region" {
  description = "Region of the provider, which is part of role names."
  type        = string
}

variable "runtime" {
  description = "Runtime of the functions in Lambda."
  type        = string
  default     = "python3.13"
}
