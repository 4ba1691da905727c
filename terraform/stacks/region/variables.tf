variable "backup" {
  description = "Backups and their copies. `copy_region`: the other region that keeps the copies. `lock`: recovery points cannot be deleted early. `retention_days`: days for which recovery points are kept."
  type = object({
    copy_region    = string
    lock           = optional(bool, true)
    retention_days = optional(object({ copies = optional(number, 90), daily = optional(number, 35), monthly = optional(number, 365) }), {})
  })

  validation {
    condition     = var.backup.copy_region != var.region
    error_message = "backup.copy_region must differ from region, because a regional failure would destroy a copy in the same region together with the original."
  }
}

variable "cache" {
  description = "Redis of the cache: the node type, the number of replicas in addition to the primary, and the days for which snapshots are kept."
  type = object({
    node_type               = optional(string, "cache.r7g.large")
    replicas                = optional(number, 2)
    snapshot_retention_days = optional(number, 7)
  })
  default = {}
}

variable "database" {
  description = "Aurora instances of this region. `capacity`: Aurora capacity units, only with instance_class db.serverless. `writer`: whether this region contains the writer of the global cluster. If `writer` is null, the primary region contains the writer."
  type = object({
    backup_retention_days = optional(number, 14)
    capacity              = optional(object({ max = number, min = number }))
    instance_class        = optional(string, "db.r7g.large")
    instances             = optional(number, 2)
    writer                = optional(bool)
  })
  default = {}
}

variable "emulated_aws" {
  description = "How mjctl reaches an emulated AWS; null for AWS itself. The value changes only the contract, never a resource. `secret`: reference to the file with the access key. `service_endpoint_urls`: endpoints of the services that a second emulator provides, each by the service's name in lower case, for example cloudwatch. `stage`: files of the stage, or null without a stage. `stage.ca_file`: the certificate of the stage's authority. `stage.names_file`: JSON with the address of each of the stage's names."
  type = object({
    endpoint_url          = string
    secret                = optional(string)
    service_endpoint_urls = optional(map(string), {})
    stage                 = optional(object({ ca_file = string, names_file = string }))
  })
  default = null
}

variable "firewall" {
  description = "Decisions of the firewall. `native_clients`: whether requests without the header `User-Agent` pass. `rate_limit`: number of requests in five minutes after which an address is blocked."
  type = object({
    native_clients = optional(bool, false)
    rate_limit     = optional(number, 2000)
  })
  default = {}
}

variable "foundation" {
  description = "The output `contract` of the stack foundation."
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
      code_key_arn  = string
      issuer        = string
      jwks_url      = string
      sender        = object({ address = string, configuration_set = string, identity_arn = string })
      user_pool_arn = string
      user_pool_id  = string
    })
    keys     = map(string)
    registry = object({ repository_name = string })
    tables   = map(object({ arn = string, name = string }))
  })
}

variable "functions" {
  description = "Archive of the functions that `mjctl package` made, and the concurrency that each function reserves from the account's limit."
  type = object({
    package              = object({ architecture = optional(string, "x86_64"), path = string, sha256 = string })
    reserved_concurrency = optional(object({ api = optional(number, 100), auth = optional(number, 50), persistence = optional(number, 20) }), {})
  })

  # Aurora accepts at most 200 connections with new IAM tokens in a second. A burst of cold starts opens one connection
  # for each unit of concurrency.
  # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
  validation {
    condition     = var.functions.reserved_concurrency.api + var.functions.reserved_concurrency.persistence < 200
    error_message = "functions.reserved_concurrency.api and persistence together must be below 200, because Aurora accepts at most 200 new log-ins by IAM in a second: lower one of them."
  }
}

variable "game" {
  description = "Game servers: the image by digest, the size of a task, the number of tasks, and the modes of play."
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
    error_message = "game.min_tasks must be below game.max_tasks, or the fleet cannot scale: lower min_tasks or raise max_tasks."
  }
}

variable "log_retention_days" {
  description = "Number of days for which the region's logs are kept, except for the audit log of the function `ops`, which is always kept for 365 days."
  type        = number
  default     = 90
}

variable "maintenance_day" {
  description = "Day of the week on which AWS maintains the region's database, state store and cache, one after another from 04:00 UTC. Regions of an environment must have different days, so that maintenance never interrupts two regions in the same night."
  type        = string
  default     = "tue"

  validation {
    condition     = contains(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], var.maintenance_day)
    error_message = "maintenance_day must be mon, tue, wed, thu, fri, sat or sun."
  }
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
  description = "Email addresses that receive the alarms."
  type        = set(string)
  default     = []
}

variable "operators" {
  description = "ARNs of the IAM roles or users that may use the ops function. An operator must log in with a second factor."
  type        = set(string)
  default     = []
}

variable "protect" {
  description = "Whether AWS refuses to delete resources with players' data. If `protect` is false, `destroy` removes players' data too. Set `protect` to false only below production."
  type        = bool
  default     = true
}

variable "region" {
  description = "Region of this stack."
  type        = string
}

variable "state" {
  description = "Bucket and KMS key of the Terraform states, for the operator role. `state` is null if operators read the states with another role."
  type        = object({ bucket = string, kms_key_arn = string })
  default     = null
}

variable "state_store" {
  description = "Redis of the running matches, in cluster mode. `replicas`: number of replicas in addition to the primary of each shard. `shards`: number of shards, which share the matches. `snapshot_retention_days`: days for which snapshots are kept."
  type = object({
    node_type               = optional(string, "cache.r7g.large")
    replicas                = optional(number, 2)
    shards                  = optional(number, 1)
    snapshot_retention_days = optional(number, 7)
  })
  default = {}
}
