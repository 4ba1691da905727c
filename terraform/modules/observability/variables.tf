variable "account_id" {
  description = "Account of the topic."
  type        = string
}

variable "api_id" {
  description = "HTTP API."
  type        = string
}

variable "backup_vault" {
  description = "Vault whose age of backups is watched."
  type        = string
}

variable "cache_members" {
  description = "Ids of the cache's nodes, by number."
  type        = map(string)
}

variable "database" {
  description = "Aurora cluster; a secondary one also has its lag behind the primary region watched."
  type = object({
    cluster_id = string
    secondary  = bool
  })
}

variable "dead_letter_queues" {
  description = "Names of every dead-letter queue, by a name: one message in any is an alarm."
  type        = map(string)
}

variable "functions" {
  description = "Physical names of the functions, by name."
  type        = map(string)
}

variable "game" {
  description = "Game service and its load balancer."
  type = object({
    cluster_name  = string
    load_balancer = string
    minimum_tasks = number
    service_name  = string
    target_group  = string
  })
}

variable "kms_key_arn" {
  description = "Key of this region; CloudWatch must be allowed to use it."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "notify_emails" {
  description = "Addresses that receive alarms; each must confirm once."
  type        = set(string)
  default     = []
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "tables" {
  description = "Names of the tables, by key of data-plane.yaml."
  type        = map(string)
}

variable "web_acl_name" {
  description = "Regional firewall."
  type        = string
}
