variable "account_id" {
  description = "AWS account that owns the function `ops` and the operator role, twelve digits."
  type        = string
}

variable "cache_statements" {
  description = "Permissions with which the function `ops` logs in to the cache, by statement id."
  type = map(object({
    actions   = list(string)
    condition = optional(object({ test = string, values = list(string), variable = string }))
    resources = list(string)
  }))
}

variable "environment" {
  description = "Environment variables of the function `ops`."
  type        = map(string)
}

variable "handler" {
  description = "Dotted path of the handler of the function `ops` in the archive."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the logs, environment variables and dead-letter queue of the function `ops`, and the queues of the region."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which the audit log of the function `ops` is kept. The log records the command of every invocation, and the caller that mjctl names, which `ops` does not verify."
  type        = number
  default     = 365
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "VPC and subnets from which the function `ops` reaches the cache."
  type = object({
    cidr       = string
    subnet_ids = list(string)
    vpc_id     = string
  })
}

variable "operators" {
  description = "ARNs of the IAM roles or users that may assume the operator role. An operator must log in with a second factor."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "operators must contain ARNs of IAM roles or users. A wildcard or the root of an account is not allowed in operators."
  }
}

variable "package" {
  description = "Archive that `mjctl package` made: its path, its SHA-256 in base64 and its processor architecture."
  type = object({
    architecture = optional(string, "x86_64")
    path         = string
    sha256       = string
  })
}

variable "pass" {
  description = "Key with which operators make passes for the API, and the condition of the permission to make passes: the encryption context of a pass."
  type = object({
    condition = object({ test = string, values = list(string), variable = string })
    key_arn   = string
  })
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "state" {
  description = "Bucket and KMS key of the Terraform states, which mjctl reads to find the deployed environment. `state` is null if operators read the states with another role."
  type        = object({ bucket = string, kms_key_arn = string })
  default     = null
}

variable "user_pool_arn" {
  description = "ARN of the user pool, in which operators create the accounts of probes and load tests."
  type        = string
}
