variable "account_id" {
  description = "AWS account that owns topics and queues, twelve digits."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts topics and queues. The key's policy must allow SNS to use the key."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "queues" {
  description = "The section `queues` of data-plane.yaml."
  type = map(object({
    dead_letter_retention_seconds = number
    max_receive_count             = number
    receive_wait_seconds          = number
    retention_seconds             = number
    visibility_timeout_seconds    = number
  }))

  validation {
    condition     = alltrue([for queue in var.queues : queue.dead_letter_retention_seconds > queue.retention_seconds])
    error_message = "queues.*.dead_letter_retention_seconds must exceed retention_seconds, because SQS keeps a message's age when it moves the message to the dead-letter queue."
  }
}

variable "region" {
  description = "Region of the provider."
  type        = string
}

variable "topics" {
  description = "The section `topics` of data-plane.yaml."
  type = map(object({
    subscriptions = list(object({
      queue                = string
      raw_message_delivery = optional(bool, true)
    }))
  }))

  validation {
    condition     = alltrue(flatten([for topic in var.topics : [for subscription in topic.subscriptions : contains(keys(var.queues), subscription.queue)]]))
    error_message = "A subscription in topics names a queue that `queues` does not contain: add the queue, or correct the name."
  }
}
