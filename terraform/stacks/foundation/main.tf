locals {
  data_plane      = yamldecode(file("${path.module}/../../modules/data_plane/data-plane.yaml"))
  name            = "${var.project}-${var.environment}"
  replica_regions = setsubtract([for region in var.regions : region.name], [var.primary_region])
  tags            = { Environment = var.environment, Project = var.project, Stack = "foundation" }
}

provider "aws" {
  region              = var.primary_region
  allowed_account_ids = [var.account_id]
  s3_use_path_style   = var.target == "sandbox"

  default_tags {
    tags = local.tags
  }
}

# CloudFront accepts only certificates in us-east-1.
provider "aws" {
  alias = "us_east_1"

  region              = "us-east-1"
  allowed_account_ids = [var.account_id]
  s3_use_path_style   = var.target == "sandbox"

  default_tags {
    tags = local.tags
  }
}

module "keys" {
  source = "../../modules/keys"

  account_id           = var.account_id
  deletion_window_days = var.protect ? 30 : 7
  name                 = local.name
  region               = var.primary_region

  keys = merge(
    { storage = { description = "Tables, databases, queues, logs and backups", multi_region = true, services = ["backup", "cloudwatch", "logs", "sns"] } },
    { for purpose, key in local.data_plane.keys : purpose => { description = key.description, multi_region = true } },
  )
}

# The function `auth` of every region uses the key. The key needs no replica in another region, because players cannot log in
# while the region of the user pool is lost.
module "code_key" {
  source = "../../modules/keys"

  account_id           = var.account_id
  deletion_window_days = var.protect ? 30 : 7
  name                 = local.name
  region               = var.primary_region

  keys = { codes = { description = "Codes in the mail to players", hmac = true } }
}

module "identity" {
  source = "../../modules/identity"

  definition          = local.data_plane.identity
  deletion_protection = var.protect
  name                = local.name
  region              = var.primary_region
  sender              = module.mail.sender
  threat_protection   = var.identity.threat_protection
}

# Cognito's endpoint is public. Without the firewall, the thief of an access token could switch the second factor off, or
# change or delete the account, past the routes of the API.
module "identity_firewall" {
  source = "../../modules/firewall"

  associations     = { players = module.identity.user_pool_arn }
  kms_key_arn      = module.keys.arns["storage"]
  name             = "${local.name}-players"
  region           = var.primary_region
  scope            = "REGIONAL"
  token_operations = local.data_plane.identity.token_operations
}

module "mail" {
  source = "../../modules/mail"

  domain  = var.domain.name
  name    = local.name
  zone_id = module.dns.zone_id
}

module "match_store" {
  source = "../../modules/match_store"

  deletion_protection = var.protect
  kms_key_arn         = module.keys.arns["storage"]
  name                = local.name
  tables              = local.data_plane.tables
}

module "database_global" {
  source = "../../modules/database_global"

  deletion_protection  = var.protect
  engine_version       = var.database.engine_version
  kms_key_arn          = module.keys.arns["storage"]
  name                 = local.name
  password_version     = var.database.password_version
  recovery_window_days = var.protect ? 30 : 0
  replica_regions      = local.replica_regions
}

module "registry" {
  source = "../../modules/registry"

  account_id      = var.account_id
  force_delete    = !var.protect
  kms_key_arn     = module.keys.arns["storage"]
  name            = local.name
  replica_regions = local.replica_regions
}

module "dns" {
  source = "../../modules/dns"

  domain        = var.domain.name
  force_destroy = !var.protect
  zone_id       = var.domain.zone_id
}

# The foundation's certificate owns the DNS validation records of the host names that all regions share. The
# certificates of the regions need the same validation records.
module "certificate" {
  source    = "../../modules/certificate"
  providers = { aws = aws.us_east_1 }

  names   = [var.domain.name, "api.${var.domain.name}", "play.${var.domain.name}"]
  zone_id = module.dns.zone_id
}

# `mjctl deploy` writes the digests of the distribution's passes into the secret, and the functions of each region read
# the region's replica (docs/decisions/0021). A digest does not reveal a pass, so AWS may delete the secret at once.
resource "aws_secretsmanager_secret" "distribution_passes" {
  #checkov:skip=CKV2_AWS_57:Each deploy of the edge replaces the pass, without a rotation function.
  name                    = "${local.name}-distribution-passes"
  description             = "Digests of the passes that the API accepts from CloudFront"
  kms_key_id              = module.keys.arns["storage"]
  recovery_window_in_days = 0

  # As for the master secret of the database, the regions' customer keys do not exist yet.
  dynamic "replica" {
    for_each = local.replica_regions

    content {
      region = replica.value
    }
  }
}

module "ci_role" {
  source = "../../modules/ci_role"
  count  = var.ci == null ? 0 : 1

  account_id   = var.account_id
  issuer       = var.ci.issuer
  kms_key_arn  = var.ci.state_kms_key_arn
  name         = local.name
  regions      = [for region in var.regions : region.name]
  state_bucket = var.ci.state_bucket
  subjects     = var.ci.subjects
}
