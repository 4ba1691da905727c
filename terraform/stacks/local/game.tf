# The processes of the game, with the settings that gameserver/runtime/settings.py reads.

locals {
  base_environment = merge(
    {
      GAMESERVER_PROJECT      = var.project
      GAMESERVER_ENVIRONMENT  = var.environment
      GAMESERVER_REGION       = var.region
      GAMESERVER_STATE_URL    = "${local.redis}://${local.address.redis}/0"
      GAMESERVER_STATE_SECRET = local.cache_secret
      GAMESERVER_CACHE_URL    = "${local.redis}://${local.address.cache}/0"
      GAMESERVER_CACHE_SECRET = local.cache_secret
    },
    var.tls ? {
      GAMESERVER_TLS_REQUIRED         = "true"
      GAMESERVER_TLS_CA_FILE          = local.ca_file
      GAMESERVER_TLS_CERTIFICATE_FILE = "${var.region_dir}/secrets/tls/server.pem"
      GAMESERVER_TLS_KEY_FILE         = "${var.region_dir}/secrets/tls/server.key"
      AWS_CA_BUNDLE                   = local.ca_file
    } : {},
    # PYTHONPATH takes precedence over the installed package `gameserver`: a restarted process runs the deployed
    # release, even if the checkout has changed.
    var.release_dir == null ? {} : { PYTHONPATH = var.release_dir },
  )

  database_environment = merge(local.base_environment, {
    GAMESERVER_DATABASE_HOST   = "127.0.0.1"
    GAMESERVER_DATABASE_PORT   = tostring(var.ports.postgres)
    GAMESERVER_DATABASE_NAME   = "game"
    GAMESERVER_DATABASE_USER   = "game"
    GAMESERVER_DATABASE_SECRET = local.database_secret
  })

  game_environment = merge(local.base_environment, {
    # The file `aws-credentials` contains an access key that mjctl created for this region. The emulated AWS accepts
    # only the region's key, and never receives the AWS key of the operator.
    AWS_CONFIG_FILE             = "/dev/null"
    AWS_SHARED_CREDENTIALS_FILE = "${var.region_dir}/secrets/aws-credentials"
    AWS_EC2_METADATA_DISABLED   = "true"
    AWS_REGION                  = var.region
    AWS_DEFAULT_REGION          = var.region
    AWS_ENDPOINT_URL            = "${local.http}://${local.address.aws}"

    GAMESERVER_EVENTS_TOPIC_ARN      = local.data_plane.topics.events
    GAMESERVER_PERSISTENCE_QUEUE_URL = local.data_plane.queues.persistence.url
    GAMESERVER_TABLES                = jsonencode({ for key, table in local.data_plane.tables : key => table.name })
    GAMESERVER_USER_POOL_ID          = local.data_plane.identity.user_pool_id
    GAMESERVER_CLIENT_ID             = local.data_plane.identity.client_id
    GAMESERVER_ISSUER                = local.data_plane.identity.issuer
    GAMESERVER_JWKS_URL              = local.data_plane.identity.jwks_url
    GAMESERVER_DATA_KEY_ARN          = local.data_plane.keys.data
    GAMESERVER_AUTO_CONFIRM_SIGN_UP  = "true"
    GAMESERVER_HOST                  = "127.0.0.1"
    GAMESERVER_TICK_RATE_HZ          = tostring(var.game.tick_rate_hz)
    GAMESERVER_MAX_PLAYERS           = tostring(var.game.max_players_per_server)
    GAMESERVER_MODES                 = jsonencode(var.game.modes)
  })
}

# The API serves the web client from the folder behind a symbolic link. A release with another web client changes the
# symbolic link. The API reads the new folder at the next request, so Terraform replaces no process.
resource "terraform_data" "web_client" {
  count = var.web_dir == null ? 0 : 1

  triggers_replace = {
    epoch      = lookup(var.epochs, "web-client", 0)
    supervisor = terraform_data.supervisor.id
    web_dir    = var.web_dir
  }

  lifecycle {
    create_before_destroy = true
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local web-client"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = var.region_dir, web_dir = var.web_dir }) }
    quiet       = true
  }
}

module "api" {
  source = "../../modules/local_process"

  name       = "api"
  kind       = "gameserver"
  arguments  = ["api"]
  region_dir = var.region_dir
  tls        = var.tls
  port       = var.ports.api
  ready      = "${local.http}://${local.address.api}/readyz"
  live       = "${local.http}://${local.address.api}/healthz"
  environment = merge(
    local.game_environment,
    local.database_environment,
    { GAMESERVER_PORT = tostring(var.ports.api) },
    var.web_dir == null ? {} : { GAMESERVER_WEB_DIR = "${var.region_dir}/run/web" },
  )
  incarnation = merge(local.released, { epoch = lookup(var.epochs, "api", 0) })

  depends_on = [module.redis, module.cache, terraform_data.schema, terraform_data.web_client]
}

module "worker" {
  source = "../../modules/local_process"

  name       = "worker"
  kind       = "gameserver"
  arguments  = ["worker"]
  region_dir = var.region_dir
  tls        = var.tls
  port       = var.ports.worker
  ready      = "${local.http}://${local.address.worker}/readyz"
  live       = "${local.http}://${local.address.worker}/healthz"
  environment = merge(local.game_environment, local.database_environment, {
    GAMESERVER_OPS_PORT = tostring(var.ports.worker)
  })
  incarnation  = merge(local.released, { epoch = lookup(var.epochs, "worker", 0) })
  stop_seconds = 20

  depends_on = [module.redis, module.cache, terraform_data.schema]
}

module "game_server" {
  source   = "../../modules/local_process"
  for_each = var.servers

  name       = each.key
  kind       = "gameserver"
  arguments  = ["serve"]
  region_dir = var.region_dir
  tls        = var.tls
  port       = var.ports[each.key]
  ready      = "${local.http}://${local.address["${each.key}-ops"]}/readyz"
  live       = "${local.http}://${local.address["${each.key}-ops"]}/healthz"
  environment = merge(local.game_environment, {
    GAMESERVER_SERVER_ID = each.key
    GAMESERVER_ZONE      = each.value
    GAMESERVER_PORT      = tostring(var.ports[each.key])
    GAMESERVER_OPS_PORT  = tostring(var.ports["${each.key}-ops"])
    GAMESERVER_PLAY_URL  = "${local.websocket}://${local.address[each.key]}"
  })
  incarnation = merge(local.released, { epoch = lookup(var.epochs, each.key, 0) })
  # The matches of a game server must have moved to other servers before the next server stops.
  rolling      = true
  stop_seconds = 20

  depends_on = [module.redis]
}
