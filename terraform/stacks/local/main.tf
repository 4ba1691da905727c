# One region on this machine: a supervisor, Redis, PostgreSQL, an emulated AWS, the functions' host (API and worker) and
# the game servers. Order: supervisor; then Redis, PostgreSQL and AWS; then schema and data plane; then the game.

locals {
  address = { for name, port in var.ports : name => "127.0.0.1:${port}" }

  game_servers = merge([
    for zone in var.zones : { for number in range(1, var.game.servers_per_zone + 1) : "game-${zone}-${number}" => zone }
  ]...)

  port_names = concat(
    ["redis", "postgres", "aws", "api", "worker"],
    keys(local.game_servers),
    [for name in keys(local.game_servers) : "${name}-ops"],
  )

  # As with local.data_plane, the file is read only once the resource exists.
  supervisor = try(jsondecode(file(terraform_data.supervisor.output.record)), { socket = "" })

  # What of an incarnation is common to all: a new supervisor begins without any process.
  supervised = { supervisor = terraform_data.supervisor.id }
  released   = merge(local.supervised, { revision = var.revision })
}

resource "terraform_data" "supervisor" {
  input = {
    region_dir = var.region_dir
    record     = "${var.region_dir}/run/supervisor.json"
  }

  triggers_replace = {
    epoch      = lookup(var.epochs, "supervisor", 0)
    region_dir = var.region_dir
  }

  lifecycle {
    create_before_destroy = true

    postcondition {
      condition     = fileexists(self.output.record)
      error_message = "${self.output.record} is gone. Run `mjctl deploy`, or raise epochs[\"supervisor\"], to start the supervisor again."
    }
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local supervisor-start"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = var.region_dir, owner = self.id }) }
    quiet       = true
  }

  # Ends every process and removes the region's data, secrets and run-time files.
  provisioner "local-exec" {
    when        = destroy
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local supervisor-stop"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = self.output.region_dir, owner = self.id }) }
    quiet       = true
  }
}

module "redis" {
  source = "../../modules/local_process"

  name        = "redis"
  kind        = "redis"
  region_dir  = var.region_dir
  port        = var.ports.redis
  ready       = "redis://${local.address.redis}"
  live        = "redis://${local.address.redis}"
  incarnation = merge(local.supervised, { epoch = lookup(var.epochs, "redis", 0) })
}

module "postgres" {
  source = "../../modules/local_process"

  name          = "postgres"
  kind          = "postgres"
  region_dir    = var.region_dir
  port          = var.ports.postgres
  ready         = "postgres://${local.address.postgres}/game"
  live          = "postgres://${local.address.postgres}"
  start_seconds = 60
  incarnation   = merge(local.supervised, { epoch = lookup(var.epochs, "postgres", 0) })
}

module "aws" {
  source = "../../modules/local_process"

  name        = "aws"
  kind        = "aws"
  region_dir  = var.region_dir
  port        = var.ports.aws
  ready       = "http://${local.address.aws}/_ministack/health"
  live        = "http://${local.address.aws}/_ministack/health"
  environment = { MINISTACK_REGION = var.region }
  incarnation = merge(local.supervised, { epoch = lookup(var.epochs, "aws", 0) })
}
