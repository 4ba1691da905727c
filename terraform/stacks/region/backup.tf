locals {
  # The name of the bucket, not its attribute `id`, is in the policies of the task, so that the plan shows complete policies.
  backup_bucket = "${local.name}-${var.region}-${local.account_id}-backups"
  # `Settings.backup_user` in gameserver/runtime/settings.py makes an equal name, and the function `migrate` creates the
  # user.
  backup_user = replace("${local.name}_backup", "-", "_")
}

# The bucket of the portable backups. Besides S3's encryption, mjctl encrypts each backup with another key, which only the
# KMS key `data` opens.
module "backups" {
  source = "../../modules/bucket"

  bucket        = local.backup_bucket
  force_destroy = !var.protect
  kms_key_arn   = module.keys.arns["storage"]
}

module "backup_task" {
  source = "../../modules/backup_task"

  account_id         = local.account_id
  bucket             = local.backup_bucket
  cluster_name       = local.name
  data_key_arn       = module.keys.arns["data"]
  database_user      = local.backup_user
  environment        = { for name in ["ENVIRONMENT", "PROJECT", "REGION", "TLS_REQUIRED"] : "GAMESERVER_${name}" => local.settings["GAMESERVER_${name}"] }
  image              = var.game.image
  kms_key_arn        = module.keys.arns["storage"]
  log_retention_days = var.log_retention_days
  name               = local.name
  network            = { cidr = module.network.cidr, vpc_id = module.network.vpc_id }
  region             = var.region
  repository_name    = var.foundation.registry.repository_name
  table_arns         = local.table_arns
}
