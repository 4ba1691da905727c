variable "account_id" {
  description = "Account of function and role."
  type        = string
}

variable "cache_statements" {
  description = "What the function needs to log in to the cache, by statement id."
  type = map(object({
    actions   = list(string)
    condition = optional(object({ test = string, values = list(string), variable = string }))
    resources = list(string)
  }))
}

variable "environment" {
  description = "Variables of the function."
  type        = map(string)
}

variable "handler" {
  description = "Dotted path of the handler in the package."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of this region."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the audit log is kept: every invocation with the caller's identity and the command."
  type        = number
  default     = 365
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "VPC whose private resources the function reaches."
  type = object({
    cidr       = string
    subnet_ids = list(string)
    vpc_id     = string
  })
}

variable "operators" {
  description = "ARNs of the roles or users that may take the operator role, each with a second factor."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "operators must be ARNs of IAM roles or users; a wildcard or a whole account is refused."
  }
}

variable "package" {
  description = "Zip file that `mjctl package` made, and its SHA-256 (base64)."
  type = object({
    architecture = optional(string, "x86_64")
    path         = string
    sha256       = string
  })
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "state" {
  description = "Bucket and key of the Terraform states, where mjctl reads what was deployed; null: operators read them by another role."
  type        = object({ bucket = string, kms_key_arn = string })
  default     = null
}
