variable "access_log_bucket" {
  description = "Name of the bucket that receives the access logs of the load balancer."
  type        = string
}

variable "account_id" {
  description = "AWS account that owns the service, twelve digits."
  type        = string
}

variable "certificate_arn" {
  description = "ARN of a validated certificate in this region for the host names that players connect to."
  type        = string
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Environment variables of the game server (`GAMESERVER_*`), without secrets."
  type        = map(string)
}

variable "image" {
  description = "Image of the game server by digest, `<repository>@sha256:<64 hex digits>`. A tag is refused, because a tag can be moved to another image."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be referenced by digest, <repository>@sha256:<64 hex digits>. `mjctl package` prints the reference."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the logs."
  type        = string
}

variable "log_retention_days" {
  description = "Number of days for which the logs of the game servers are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string

  validation {
    condition     = length(var.name) <= 22
    error_message = "name must have at most 22 characters, so that the name of the target group with its suffix stays within 32: shorten project or environment."
  }
}

variable "network" {
  description = "VPC and its subnets by zone. The load balancer uses the public subnets, and the tasks use the private subnets."
  type = object({
    cidr               = string
    private_subnet_ids = map(string)
    public_subnet_ids  = map(string)
    vpc_id             = string
  })

  validation {
    condition     = length(var.network.private_subnet_ids) >= 3 && length(var.network.public_subnet_ids) >= 3
    error_message = "network must contain subnets of at least three zones in the public and in the private tier: add a zone."
  }
}

variable "region" {
  description = "Region of the provider, which is part of role names."
  type        = string
}

variable "repository_name" {
  description = "Name of the ECR repository that the execution role may pull the image from."
  type        = string
}

variable "scaling" {
  description = "Minimum and maximum number of tasks, and the load at which tasks are added. `players_per_task`: the number of players that fills a task, as measured by `mjctl loadtest`."
  type = object({
    cpu_percent      = optional(number, 60)
    max              = number
    min              = number
    players_per_task = number
    players_percent  = optional(number, 70)
  })

  validation {
    condition     = var.scaling.min < var.scaling.max
    error_message = "scaling.min must be below scaling.max, or the fleet cannot scale: lower min or raise max."
  }

  validation {
    condition     = var.scaling.min >= length(var.network.private_subnet_ids)
    error_message = "scaling.min must not be below the number of zones, or a zone would have no task: raise min."
  }

  validation {
    condition     = var.scaling.cpu_percent > 0 && var.scaling.cpu_percent <= 90 && var.scaling.players_percent > 0 && var.scaling.players_percent <= 90
    error_message = "scaling.cpu_percent and scaling.players_percent must be above 0 and at most 90, so that new tasks start before the running tasks are full."
  }
}

variable "statements" {
  description = "Permissions of the task role by statement id, in addition to the permission to protect its own task."
  type = map(object({
    actions    = list(string)
    conditions = optional(list(object({ test = string, values = list(string), variable = string })), [])
    resources  = list(string)
  }))
  default = {}
}

variable "task" {
  description = "Size and limits of a task. `deregistration_seconds`: the time for which the load balancer keeps the connections of a stopping task, in which the server moves its matches. `drain_seconds`: the time after SIGTERM in which a server moves the matches that it still has (at most 120 on Fargate). `peer_port`: the port at which the game servers accept connections of each other. `ping_seconds`: the interval of the server's WebSocket pings."
  type = object({
    cpu                    = optional(number, 1024)
    deregistration_seconds = optional(number, 30)
    drain_seconds          = optional(number, 30)
    memory                 = optional(number, 2048)
    ops_port               = optional(number, 9090)
    peer_port              = optional(number, 8081)
    ping_seconds           = optional(number, 20)
    port                   = optional(number, 8080)
  })
  default = {}

  validation {
    condition     = var.task.drain_seconds >= 30 && var.task.drain_seconds <= 120
    error_message = "task.drain_seconds must be 30 to 120, because Fargate stops a task after 120 seconds at the latest."
  }

  validation {
    condition     = var.task.deregistration_seconds >= 20 && var.task.deregistration_seconds <= 60
    error_message = "task.deregistration_seconds must be 20 to 60: a server moves its players within a few seconds, and each stop of a task takes the whole time."
  }
}
