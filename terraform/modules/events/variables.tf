variable "account_id" {
  description = "Account of topics and queues."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of this region; SNS must be allowed to use it."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "queues" {
  description = "Section `queues` of data-plane.yaml."
  type = map(object({
    dead_letter_retention_seconds = number
    max_receive_count             = number
    receive_wait_seconds          = number
    retention_seconds             = number
    visibility_timeout_seconds    = number
  }))

  validation {
    condition     = alltrue([for queue in var.queues : queue.dead_letter_retention_seconds > queue.retention_seconds])
    error_message = "queues: dead_letter_retention_seconds must exceed retention_seconds: a message keeps its age when it moves, and would be gone at once."
  }
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "topics" {
  description = "Section `topics` of data-plane.yaml."
  type = map(object({
    subscriptions = list(object({
      queue                = string
      raw_message_delivery = optional(bool, true)
    }))
  }))

  validation {
    condition     = alltrue(flatten([for topic in var.topics : [for subscription in topic.subscriptions : contains(keys(var.queues), subscription.queue)]]))
    error_message = "topics: a subscription names a queue that `queues` does not hold."
  }
}
