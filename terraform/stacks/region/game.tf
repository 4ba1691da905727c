locals {
  settings = {
    GAMESERVER_CLIENT_ID        = var.foundation.identity.client_id
    GAMESERVER_DATA_KEY_ARN     = module.keys.arns["data"]
    GAMESERVER_ENVIRONMENT      = var.foundation.environment
    GAMESERVER_EVENTS_TOPIC_ARN = module.events.topics["events"]
    GAMESERVER_ISSUER           = var.foundation.identity.issuer
    GAMESERVER_JWKS_URL         = var.foundation.identity.jwks_url
    GAMESERVER_MODES            = jsonencode(var.game.modes)
    GAMESERVER_PLAY_URL         = "wss://${local.play_host}"
    GAMESERVER_PROJECT          = var.foundation.project
    GAMESERVER_REGION           = var.region
    GAMESERVER_TLS_REQUIRED     = "true"
  }
  state_settings = {
    GAMESERVER_STATE_CLUSTER = "true"
    GAMESERVER_STATE_SECRET  = "iam:${module.state.replication_group_id}"
    GAMESERVER_STATE_URL     = "rediss://${module.state.user_names["game"]}@${module.state.endpoint}:6379"
  }

  key_use = {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [for purpose in sort(keys(module.keys.arns)) : module.keys.arns[purpose]]
  }
  cache_log_in = {
    actions   = ["elasticache:Connect"]
    resources = [module.cache.arn, module.cache.user_arns["game"]]
  }
  state_log_in = {
    actions   = ["elasticache:Connect"]
    resources = [module.state.arn, module.state.user_arns["game"]]
  }
}

module "access_logs" {
  source = "../../modules/bucket"

  bucket        = "${local.name}-${var.region}-${local.account_id}-logs"
  expire_days   = var.log_retention_days
  force_destroy = !var.protect

  statements = {
    LoadBalancer = {
      actions = ["s3:PutObject"]
      path    = "/game/AWSLogs/${local.account_id}/*"
      service = "logdelivery.elasticloadbalancing.amazonaws.com"
    }
  }
}

module "certificate" {
  source = "../../modules/certificate"

  names        = [local.play_host, local.api_host, "api.${var.foundation.dns.domain}", "play.${var.foundation.dns.domain}"]
  shared_names = ["api.${var.foundation.dns.domain}", "play.${var.foundation.dns.domain}"]
  zone_id      = var.foundation.dns.zone_id
}

module "game_service" {
  source = "../../modules/game_service"

  access_log_bucket   = module.access_logs.id
  account_id          = local.account_id
  certificate_arn     = module.certificate.arn
  deletion_protection = var.protect
  image               = var.game.image
  kms_key_arn         = module.keys.arns["storage"]
  log_retention_days  = var.log_retention_days
  name                = local.name
  region              = var.region
  repository_name     = var.foundation.registry.repository_name

  environment = merge(local.settings, local.state_settings, {
    GAMESERVER_MAX_PLAYERS  = tostring(var.game.max_players_per_server)
    GAMESERVER_TABLES       = jsonencode({ matches = local.tables["matches"].name })
    GAMESERVER_TICK_RATE_HZ = tostring(var.game.tick_rate_hz)
    # The value 0 switches off the game server's limit of connections from one address, because every connection comes
    # from the load balancer's address. The web ACL limits the requests from each player's address.
    GAMESERVER_UNJOINED_PER_ADDRESS = "0"
  })
  network = {
    cidr               = module.network.cidr
    private_subnet_ids = module.network.private_subnet_ids
    public_subnet_ids  = module.network.public_subnet_ids
    vpc_id             = module.network.vpc_id
  }
  scaling = {
    max              = var.game.max_tasks
    min              = var.game.min_tasks
    players_per_task = var.game.max_players_per_server
  }
  statements = {
    KeyUse = local.key_use
    # A game server counts the owners of a match in the match's item. The conditions let it change and read no other
    # attribute of an item.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    MatchEpochs = {
      actions = ["dynamodb:UpdateItem"]
      conditions = [
        { test = "ForAllValues:StringEquals", values = ["match_id", "owner_epoch"], variable = "dynamodb:Attributes" },
        { test = "StringEquals", values = ["UPDATED_NEW"], variable = "dynamodb:ReturnValues" },
      ]
      resources = [local.tables["matches"].arn]
    }
    PublishEvents = { actions = ["sns:Publish"], resources = values(module.events.topics) }
    StateLogIn    = local.state_log_in
  }
  task = { cpu = var.game.cpu, memory = var.game.memory }
}

# Players reconnect to a match in this region by the host name `play-<region>`.
resource "aws_route53_record" "play" {
  zone_id = var.foundation.dns.zone_id
  name    = local.play_host
  type    = "A"

  alias {
    evaluate_target_health = true
    name                   = module.game_service.load_balancer.dns_name
    zone_id                = module.game_service.load_balancer.zone_id
  }
}

module "firewall" {
  source = "../../modules/firewall"

  associations       = { game = module.game_service.load_balancer.arn }
  kms_key_arn        = module.keys.arns["storage"]
  load_tests         = true
  log_retention_days = var.log_retention_days
  name               = local.name
  native_clients     = var.firewall.native_clients
  rate_limit         = var.firewall.rate_limit
  region             = var.region
  scope              = "REGIONAL"
}
