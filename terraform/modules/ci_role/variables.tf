variable "account_id" {
  description = "AWS account that owns the roles, twelve digits."
  type        = string
}

variable "issuer" {
  description = "Host name of the OIDC issuer of the pipeline's tokens, without `https://`."
  type        = string
  default     = "token.actions.githubusercontent.com"
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the state bucket."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "regions" {
  description = "Regions in which the pipeline may change resources. The module adds us-east-1 for global services."
  type        = set(string)
}

variable "state_bucket" {
  description = "Name of the bucket with the Terraform states."
  type        = string
}

variable "subjects" {
  description = "Values of the token's claim `sub` that may assume each role: `plan` reads, `deploy` changes resources, `drill` rehearses restores. Without values for `drill`, the role `drill` is not created. Example: repo:studio/arena:environment:prod."
  type = object({
    deploy = set(string)
    drill  = optional(set(string), [])
    plan   = set(string)
  })

  validation {
    condition     = alltrue([for subject in setunion(var.subjects.deploy, var.subjects.drill, var.subjects.plan) : !startswith(subject, "*") && can(regex("^(repo|project_path):[^*:]+/[^*:]+:", subject))])
    error_message = "Each of subjects must name owner and repository without a wildcard, for example repo:studio/arena:environment:prod, or on GitLab project_path:studio/arena:ref_type:branch:ref:main."
  }

  validation {
    condition     = length(var.subjects.deploy) > 0
    error_message = "subjects.deploy is empty, so no pipeline could deploy: add at least one subject."
  }
}
