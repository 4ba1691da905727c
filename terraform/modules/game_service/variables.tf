variable "access_log_bucket" {
  description = "Bucket for load balancer access logs."
  type        = string
}

variable "account_id" {
  description = "Account of the service."
  type        = string
}

variable "certificate_arn" {
  description = "Validated certificate of this region for the names players connect to."
  type        = string
}

variable "deletion_protection" {
  description = "Refuse to delete the load balancer."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Variables of the game server (`GAMESERVER_*`). Secrets stand in none of them."
  type        = map(string)
}

variable "image" {
  description = "Image by digest, `<repository>@sha256:<64 hex digits>`: a tag could mean another program tomorrow."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be referenced by digest, <repository>@sha256:<64 hex digits>; `mjctl package` prints it."
  }
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts logs."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string

  validation {
    condition     = length(var.name) <= 22
    error_message = "name must have at most 22 characters: a target group's name, with its suffix, at most 32. Shorten project or environment."
  }
}

variable "network" {
  description = "VPC and its tiers: the load balancer stands in the public subnets, tasks in the private ones."
  type = object({
    cidr               = string
    private_subnet_ids = map(string)
    public_subnet_ids  = map(string)
    vpc_id             = string
  })

  validation {
    condition     = length(var.network.private_subnet_ids) >= 3 && length(var.network.public_subnet_ids) >= 3
    error_message = "network must hold subnets of at least three zones in both tiers: add a zone."
  }
}

variable "region" {
  description = "Region of the provider; part of role names."
  type        = string
}

variable "repository_name" {
  description = "Repository that the image is pulled from, for the execution role."
  type        = string
}

variable "scaling" {
  description = "Tasks, and what makes more of them. `players_per_task`: players at which a task counts as full, from `mjctl loadtest`."
  type = object({
    cpu_percent      = optional(number, 60)
    max              = number
    min              = number
    players_per_task = number
    players_percent  = optional(number, 70)
  })

  validation {
    condition     = var.scaling.min < var.scaling.max
    error_message = "scaling.min must be below scaling.max, or nothing can scale: lower min or raise max."
  }

  validation {
    condition     = var.scaling.min >= length(var.network.private_subnet_ids)
    error_message = "scaling.min is below the number of zones, so a zone would be empty: raise min."
  }

  validation {
    condition     = var.scaling.cpu_percent > 0 && var.scaling.cpu_percent <= 90 && var.scaling.players_percent > 0 && var.scaling.players_percent <= 90
    error_message = "scaling.cpu_percent and players_percent must be above 0 and at most 90: a fleet that scales when it is full is late."
  }
}

variable "statements" {
  description = "What the task role may do beyond protecting its own task, by statement id."
  type = map(object({
    actions   = list(string)
    condition = optional(object({ test = string, values = list(string), variable = string }))
    resources = list(string)
  }))
  default = {}
}

variable "task" {
  description = "Size of a task and its limits. `drain_seconds`: time that a stopping server has to hand its matches over (at most 120 on Fargate). `ping_seconds`: WebSocket ping interval of the server."
  type = object({
    cpu           = optional(number, 1024)
    drain_seconds = optional(number, 110)
    memory        = optional(number, 2048)
    ops_port      = optional(number, 9090)
    ping_seconds  = optional(number, 20)
    port          = optional(number, 8080)
  })
  default = {}

  validation {
    condition     = var.task.drain_seconds >= 30 && var.task.drain_seconds <= 120
    error_message = "task.drain_seconds must be 30 to 120, the most that Fargate waits."
  }
}
