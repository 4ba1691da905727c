variable "account_id" {
  description = "AWS account that owns the topic, twelve digits."
  type        = string
}

variable "api_id" {
  description = "Id of the HTTP API."
  type        = string
}

variable "backup_vault" {
  description = "Name of the backup vault. An alarm monitors the age of the vault's newest backup."
  type        = string
}

variable "cache_members" {
  description = "Ids of the cache's nodes by their number."
  type        = map(string)
}

variable "database" {
  description = "Aurora cluster to monitor. If the cluster is a secondary, an alarm also monitors the cluster's lag behind the primary region."
  type = object({
    cluster_id = string
    secondary  = bool
  })
}

variable "dead_letter_queues" {
  description = "Names of all dead-letter queues, each by a short name. One message in a dead-letter queue triggers an alarm."
  type        = map(string)
}

variable "event_log_group" {
  description = "Name of the log group of the function `persistence`, in which an alarm looks for reused ids of events."
  type        = string
}

variable "functions" {
  description = "Names of the functions in Lambda, each by a short name."
  type        = map(string)
}

variable "game" {
  description = "Game service and its load balancer, by the names that CloudWatch's metrics use."
  type = object({
    cluster_name  = string
    load_balancer = string
    minimum_tasks = number
    service_name  = string
    target_group  = string
  })
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the topic of the alarms. The key's policy must allow CloudWatch to use the key."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "notify_emails" {
  description = "Email addresses that receive the alarms. Each recipient must confirm the subscription once."
  type        = set(string)
  default     = []
}

variable "queues" {
  description = "Names of the queues by their key in data-plane.yaml. An alarm monitors the age of the oldest message of each queue."
  type        = map(string)
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "state_members" {
  description = "Ids of the state store's nodes by their number."
  type        = map(string)
}

variable "tables" {
  description = "Names of the tables by their key in data-plane.yaml."
  type        = map(string)
}

variable "web_acl_metric" {
  description = "Metric name of the regional web ACL, which is the value of the dimension `WebACL` of its metrics."
  type        = string
}
