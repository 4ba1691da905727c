locals {
  account_id = var.foundation.account_id
  api_host   = "api-${var.region}.${var.foundation.dns.domain}"
  data_plane = yamldecode(file("${path.module}/../../modules/data_plane/data-plane.yaml"))
  is_primary = var.region == var.foundation.primary_region
  is_sandbox = var.foundation.target == "sandbox"
  name       = "${var.foundation.project}-${var.foundation.environment}"
  play_host  = "play-${var.region}.${var.foundation.dns.domain}"
  stage      = one(var.emulated_aws[*].stage)
  tags       = { Environment = var.foundation.environment, Project = var.foundation.project, Stack = "region" }

  tables = local.is_primary ? var.foundation.tables : module.match_store_replica[0].tables
  # The ARN of a secret's replica differs from the ARN of the primary secret only in the region.
  database_secret_arn = replace(var.foundation.database.secret_arn, ":${var.foundation.primary_region}:", ":${var.region}:")

  private_subnets = {
    cidr       = module.network.cidr
    subnet_ids = [for zone in sort(var.network.zones) : module.network.private_subnet_ids[zone]]
    vpc_id     = module.network.vpc_id
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [local.account_id]
  s3_use_path_style   = local.is_sandbox

  default_tags {
    tags = local.tags
  }
}

# The provider `copy` is for the vault that keeps the copies of this region's backups.
provider "aws" {
  alias = "copy"

  region              = var.backup.copy_region
  allowed_account_ids = [local.account_id]
  s3_use_path_style   = local.is_sandbox

  default_tags {
    tags = local.tags
  }
}

# The primary region uses the keys of the stack foundation. Every other region creates replicas of the foundation's
# keys.
module "keys" {
  source = "../../modules/keys"

  account_id           = local.account_id
  deletion_window_days = var.protect ? 30 : 7
  name                 = local.name
  region               = var.region

  existing = { for purpose, arn in var.foundation.keys : purpose => arn if local.is_primary }
  keys = { for purpose, arn in var.foundation.keys : purpose => {
    description     = "Replica of ${purpose}"
    primary_key_arn = arn
    services        = purpose == "storage" ? ["backup", "cloudwatch", "logs", "sns"] : []
  } if !local.is_primary }
}

module "network" {
  source = "../../modules/network"

  account_id              = local.account_id
  cidr                    = var.network.cidr
  flow_log_retention_days = var.log_retention_days
  interface_endpoints     = var.network.interface_endpoints
  kms_key_arn             = module.keys.arns["storage"]
  name                    = local.name
  nat                     = var.network.nat
  region                  = var.region
  zones                   = var.network.zones
}

module "match_store_replica" {
  source = "../../modules/match_store_replica"
  count  = local.is_primary ? 0 : 1

  deletion_protection = var.protect
  kms_key_arn         = module.keys.arns["storage"]
  region              = var.region
  tables              = var.foundation.tables
}

module "events" {
  source = "../../modules/events"

  account_id  = local.account_id
  kms_key_arn = module.keys.arns["storage"]
  name        = local.name
  queues      = local.data_plane.queues
  region      = var.region
  topics      = local.data_plane.topics
}

# The state store keeps the running matches, the list of game servers and the closure of the region.
module "state" {
  source = "../../modules/cache"

  allowed_security_groups = {
    api  = module.functions.security_group_ids["api"]
    game = module.game_service.security_group_id
    ops  = module.operations_access.security_group_id
  }
  account_id              = local.account_id
  kms_key_arn             = module.keys.arns["storage"]
  log_retention_days      = var.log_retention_days
  maintenance_window      = "${var.maintenance_day}:05:00-${var.maintenance_day}:06:00"
  name                    = local.name
  node_type               = var.state_store.node_type
  purpose                 = "state"
  region                  = var.region
  replicas                = var.state_store.replicas
  shards                  = var.state_store.shards
  snapshot_retention_days = var.state_store.snapshot_retention_days
  subnet_ids              = module.network.data_subnet_ids
  vpc_id                  = module.network.vpc_id

  users = {
    game = { access = "on ~* &* +@all -@admin -@dangerous +info" }
    # The Redis user `ops` may access only the registry of game servers, so that a mistake cannot change a running match.
    ops = { access = "on ~server* &* +@all -@admin -@dangerous +info" }
  }
}

# The game servers have no access to the cache, which only the functions use.
module "cache" {
  source = "../../modules/cache"

  allowed_security_groups = {
    api    = module.functions.security_group_ids["api"]
    ops    = module.operations_access.security_group_id
    worker = module.functions.security_group_ids["persistence"]
  }
  account_id              = local.account_id
  kms_key_arn             = module.keys.arns["storage"]
  log_retention_days      = var.log_retention_days
  maintenance_window      = "${var.maintenance_day}:06:00-${var.maintenance_day}:07:00"
  name                    = local.name
  node_type               = var.cache.node_type
  purpose                 = "cache"
  region                  = var.region
  replicas                = var.cache.replicas
  snapshot_retention_days = var.cache.snapshot_retention_days
  subnet_ids              = module.network.data_subnet_ids
  vpc_id                  = module.network.vpc_id

  users = {
    game = { access = "on ~* &* +@all -@admin -@dangerous +info" }
    ops  = { access = "on ~cache* &* +@all -@admin -@dangerous +info +client|list" }
  }
}

module "database" {
  source = "../../modules/database"

  allowed_security_groups = {
    api     = module.functions.security_group_ids["api"]
    backup  = module.backup_task.security_group_id
    migrate = module.functions.security_group_ids["migrate"]
    worker  = module.functions.security_group_ids["persistence"]
  }
  backup_retention_days = var.database.backup_retention_days
  capacity              = var.database.capacity
  deletion_protection   = var.protect
  global                = var.foundation.database
  instance_class        = var.database.instance_class
  instances             = var.database.instances
  kms_key_arn           = module.keys.arns["storage"]
  log_retention_days    = var.log_retention_days
  maintenance_window    = "${var.maintenance_day}:04:00-${var.maintenance_day}:05:00"
  name                  = local.name
  region                = var.region
  role                  = local.is_primary ? "primary" : "secondary"
  subnet_ids            = module.network.data_subnet_ids
  vpc_id                = module.network.vpc_id
  writer                = var.database.writer
}

module "backup" {
  source    = "../../modules/backup"
  providers = { aws = aws, aws.copy = aws.copy }

  account_id       = local.account_id
  copy_kms_key_arn = one(values(module.copy_keys.arns))
  copy_region      = var.backup.copy_region
  force_destroy    = !var.protect
  kms_key_arn      = module.keys.arns["storage"]
  lock             = var.backup.lock
  name             = local.name
  region           = var.region
  resources        = merge({ database = module.database.arn }, { for key, table in local.tables : "table-${key}" => table.arn })
  retention_days   = var.backup.retention_days
}

# The copies of backups have their own KMS key, not a replica of the region's key. The loss of one key therefore affects
# only the backups or only the copies.
module "copy_keys" {
  source    = "../../modules/keys"
  providers = { aws = aws.copy }

  account_id           = local.account_id
  deletion_window_days = var.protect ? 30 : 7
  name                 = local.name
  region               = var.backup.copy_region

  keys = { "backup-copies-${var.region}" = { description = "Copies of the backups of ${var.region}", services = ["backup"] } }
}
