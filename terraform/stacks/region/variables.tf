variable "aws_endpoint_url" {
  description = "Endpoint of an emulated AWS, for the game's processes and mjctl; null for the real one."
  type        = string
  default     = null
}

variable "aws_secret" {
  description = "Reference to the file with the key of an emulated AWS, for mjctl; null for the real one."
  type        = string
  default     = null
}

variable "aws_service_endpoint_urls" {
  description = "Endpoints of services that another emulator answers, by name in lower case, e.g. cloudwatch; for mjctl."
  type        = map(string)
  default     = {}
}

variable "backup" {
  description = "Copies of backups: the other region that keeps them, and for how long in days. `lock`: nobody deletes a recovery point early."
  type = object({
    copy_region    = string
    lock           = optional(bool, true)
    retention_days = optional(object({ copies = optional(number, 90), daily = optional(number, 35), monthly = optional(number, 365) }), {})
  })

  validation {
    condition     = var.backup.copy_region != var.region
    error_message = "backup.copy_region must be another region than region: a copy beside the original is lost with it."
  }
}

variable "cache" {
  description = "Redis: node type, replicas beside the primary, days of snapshots."
  type = object({
    node_type               = optional(string, "cache.r7g.large")
    replicas                = optional(number, 2)
    snapshot_retention_days = optional(number, 7)
  })
  default = {}
}

variable "database" {
  description = "Aurora instances of this region; `capacity` only with instance_class db.serverless. `writer`: whether the global cluster is written here, null for in the primary region."
  type = object({
    backup_retention_days = optional(number, 14)
    capacity              = optional(object({ max = number, min = number }))
    instance_class        = optional(string, "db.r7g.large")
    instances             = optional(number, 2)
    writer                = optional(bool)
  })
  default = {}
}

variable "foundation" {
  description = "Contract of the stack foundation."
  type = object({
    account_id     = string
    environment    = string
    primary_region = string
    project        = string
    target         = string
    database = object({
      database_name     = string
      engine_version    = string
      global_cluster_id = optional(string)
      password_version  = number
      secret_arn        = string
      username          = string
    })
    dns = object({
      domain  = string
      zone_id = string
    })
    identity = object({
      client_id     = string
      issuer        = string
      jwks_url      = string
      user_pool_arn = string
      user_pool_id  = string
    })
    keys     = map(string)
    registry = object({ repository_name = string })
    tables   = map(object({ arn = string, name = string }))
  })
}

variable "functions" {
  description = "Package of the functions, made by `mjctl package`, and the concurrency that each may take of the account's."
  type = object({
    package              = object({ architecture = optional(string, "x86_64"), path = string, sha256 = string })
    reserved_concurrency = optional(object({ api = optional(number, 100), auth = optional(number, 50), persistence = optional(number, 20) }), {})
  })
}

variable "game" {
  description = "Game servers: image by digest, size of a task, how many, and what they play."
  type = object({
    cpu                    = optional(number, 1024)
    image                  = string
    max_players_per_server = optional(number, 2000)
    max_tasks              = number
    memory                 = optional(number, 2048)
    min_tasks              = number
    modes                  = map(object({ duration_seconds = number, rules = optional(string, "arena"), seats = number }))
    tick_rate_hz           = optional(number, 20)
  })

  validation {
    condition     = var.game.min_tasks < var.game.max_tasks
    error_message = "game.min_tasks must be below game.max_tasks, or nothing can scale: lower min_tasks or raise max_tasks."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90
}

variable "network" {
  description = "VPC of the region. `nat`: per_zone or single."
  type = object({
    cidr                = string
    interface_endpoints = optional(set(string), ["ecr.api", "ecr.dkr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs"])
    nat                 = optional(string, "per_zone")
    zones               = list(string)
  })
}

variable "notify_emails" {
  description = "Addresses that receive alarms."
  type        = set(string)
  default     = []
}

variable "operators" {
  description = "ARNs of roles or users that may use the ops function, each with a second factor."
  type        = set(string)
  default     = []
}

variable "protect" {
  description = "Refuse to delete what holds players' data. Without it, destroy leaves nothing: for what is not production."
  type        = bool
  default     = true
}

variable "region" {
  description = "Region of this stack."
  type        = string
}

variable "state" {
  description = "Bucket and key of the Terraform states, for the operators' role; null: they read them by another one."
  type        = object({ bucket = string, kms_key_arn = string })
  default     = null
}
