output "contract" {
  description = "Contract of the region: everything that mjctl knows of the region. mjctl/models/contract.py defines the type of the contract."
  value = {
    version     = 1
    project     = var.project
    environment = var.environment
    target      = "local"
    region      = var.region
    zones       = var.zones
    ca_file     = local.ca_file

    aws = {
      endpoint_url = "${local.http}://${local.address.aws}"
      account_id   = local.data_plane.account_id
      secret       = local.aws_secret
    }
    endpoints = { api = "${local.http}://${local.address.api}", web = "${local.http}://${local.address.api}" }
    state     = { url = "${local.redis}://${local.address.redis}/0", access = "direct", secret = local.cache_secret }
    cache     = { url = "${local.redis}://${local.address.cache}/0", access = "direct", secret = local.cache_secret }
    database = {
      host   = "127.0.0.1"
      port   = var.ports.postgres
      name   = "game"
      user   = "game"
      secret = local.database_secret
      tls    = var.tls
    }
    tables   = local.data_plane.tables
    topics   = local.data_plane.topics
    queues   = local.data_plane.queues
    identity = local.data_plane.identity
    keys     = local.data_plane.keys
    backup   = { directory = "${var.region_dir}/backups" }

    fleet = {
      kind              = "supervisor"
      supervisor_socket = local.supervisor.socket
      run_dir           = "${var.region_dir}/run"
      processes = concat(
        [
          { name = "redis", role = "state", zone = null, health = "tcp://${local.address.redis}" },
          { name = "cache", role = "cache", zone = null, health = "tcp://${local.address.cache}" },
          { name = "postgres", role = "database", zone = null, health = "tcp://${local.address.postgres}" },
          { name = "aws", role = "aws", zone = null, health = "${local.http}://${local.address.aws}/healthz" },
          { name = "api", role = "api", zone = null, health = "${local.http}://${local.address.api}/readyz" },
          { name = "worker", role = "worker", zone = null, health = "${local.http}://${local.address.worker}/readyz" },
        ],
        [
          for name, zone in var.servers : {
            name   = name
            role   = "game-server"
            zone   = zone
            health = "${local.http}://${local.address["${name}-ops"]}/readyz"
          }
        ],
      )
      servers = [
        for name, zone in var.servers : {
          id       = name
          zone     = zone
          play_url = "${local.websocket}://${local.address[name]}"
          ops_url  = "${local.http}://${local.address["${name}-ops"]}"
        }
      ]
    }
  }

  # Terraform writes the contract only after all processes of the region have started.
  depends_on = [module.api, module.worker, module.game_server]
}
