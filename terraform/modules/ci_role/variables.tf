variable "account_id" {
  description = "Account of the roles."
  type        = string
}

variable "issuer" {
  description = "OIDC issuer of the pipeline's tokens, without https://."
  type        = string
  default     = "token.actions.githubusercontent.com"
}

variable "kms_key_arn" {
  description = "Key of the state bucket."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "regions" {
  description = "Regions that the pipeline may change; us-east-1 is added for what is global."
  type        = set(string)
}

variable "state_bucket" {
  description = "Bucket of the states."
  type        = string
}

variable "subjects" {
  description = "Claims `sub` that may take each role: `plan` reads, `deploy` changes, `drill` rehearses restores (none: no such role), e.g. repo:studio/arena:environment:prod."
  type = object({
    deploy = set(string)
    drill  = optional(set(string), [])
    plan   = set(string)
  })

  validation {
    condition     = alltrue([for subject in setunion(var.subjects.deploy, var.subjects.drill, var.subjects.plan) : !startswith(subject, "*") && can(regex("^(repo|project_path):[^*:]+/[^*:]+:", subject))])
    error_message = "subjects must name owner and repository without a wildcard, e.g. repo:studio/arena:environment:prod, or on GitLab project_path:studio/arena:ref_type:branch:ref:main."
  }

  validation {
    condition     = length(var.subjects.deploy) > 0
    error_message = "subjects.deploy is empty: nobody could deploy."
  }
}
