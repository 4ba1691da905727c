# One region on this machine: a supervisor, the state store and the cache (each a Redis), PostgreSQL, an emulated AWS,
# the API, the worker and the game servers. Terraform creates the supervisor first, and the certificates if TLS is on.
# Then Terraform creates the state store, the cache, PostgreSQL and the emulated AWS, after them the schema and the data
# plane, and last the processes of the game.

locals {
  address = { for name, port in var.ports : name => "127.0.0.1:${port}" }

  port_names = concat(
    ["redis", "cache", "postgres", "aws", "api", "worker"],
    keys(var.servers),
    [for name in keys(var.servers) : "${name}-ops"],
  )

  # The file run/supervisor.json exists only after terraform_data.supervisor has been created. The comment at
  # local.data_plane has the reason for the `try`.
  supervisor = try(jsondecode(file(terraform_data.supervisor.output.record)), { socket = "" })

  # References to the files with the secrets of the emulated AWS, both Redis processes and PostgreSQL. mjctl creates
  # each file before the process with the secret first starts.
  aws_secret      = "file:${var.region_dir}/secrets/aws.json"
  cache_secret    = "file:${var.region_dir}/secrets/cache.json"
  database_secret = "file:${var.region_dir}/secrets/database.json"

  # URL schemes with or without TLS, and the certificate of the authority that signs the certificates of the region.
  http      = var.tls ? "https" : "http"
  redis     = var.tls ? "rediss" : "redis"
  websocket = var.tls ? "wss" : "ws"
  ca_file   = var.tls ? "${var.region_dir}/secrets/tls/authority.pem" : null

  # A change of a value in `supervised` replaces every process. A new supervisor starts without processes, and a process
  # reads its TLS certificate only when it starts.
  supervised = merge(
    { supervisor = terraform_data.supervisor.id },
    { for certificates in terraform_data.certificates : "certificates" => certificates.id },
  )
  released = merge(local.supervised, { revision = var.revision })
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
      error_message = "${self.output.record} does not exist. Run `mjctl deploy`, or raise epochs[\"supervisor\"], to start the supervisor again."
    }
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local supervisor-start"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = var.region_dir, owner = self.id }) }
    quiet       = true
  }

  # `terraform destroy` stops every process of the region, and removes the region's data, secrets and run-time files.
  provisioner "local-exec" {
    when        = destroy
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local supervisor-stop"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = self.output.region_dir, owner = self.id }) }
    quiet       = true
  }
}

# The TLS keys and certificates of a region are files in the region's folder `secrets`. The Terraform state contains no
# key and no certificate. The TLS keys and certificates remain when TLS is switched off: a client that trusts the
# region's authority still trusts the authority when TLS is switched on again.
resource "terraform_data" "certificates" {
  count = var.tls ? 1 : 0

  triggers_replace = {
    epoch      = lookup(var.epochs, "certificates", 0)
    supervisor = terraform_data.supervisor.id
  }

  lifecycle {
    create_before_destroy = true
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local certificates"
    environment = { MJCTL_INPUT = jsonencode({ region_dir = var.region_dir }) }
    quiet       = true
  }
}

# The state store keeps the running matches. In release 0.1.0 the process `redis` kept the matches and the cache. The
# name remains, so that a deploy over 0.1.0 keeps the running matches.
module "redis" {
  source = "../../modules/local_process"

  name        = "redis"
  kind        = "redis"
  region_dir  = var.region_dir
  port        = var.ports.redis
  tls         = var.tls
  ready       = "${local.redis}://${local.address.redis}/0"
  live        = "${local.redis}://${local.address.redis}"
  incarnation = merge(local.supervised, { epoch = lookup(var.epochs, "redis", 0) })
}

# The policy evicts only keys with a time to live. The keys that control the cache have no time to live, and the cache
# would return older values if Redis evicted these keys.
module "cache" {
  source = "../../modules/local_process"

  name        = "cache"
  kind        = "redis"
  arguments   = ["maxmemory=256mb", "maxmemory-policy=volatile-lru"]
  region_dir  = var.region_dir
  port        = var.ports.cache
  tls         = var.tls
  ready       = "${local.redis}://${local.address.cache}/0"
  live        = "${local.redis}://${local.address.cache}"
  incarnation = merge(local.supervised, { epoch = lookup(var.epochs, "cache", 0) })
}

module "postgres" {
  source = "../../modules/local_process"

  name          = "postgres"
  kind          = "postgres"
  region_dir    = var.region_dir
  port          = var.ports.postgres
  tls           = var.tls
  ready         = var.tls ? "postgres+tls://${local.address.postgres}/game" : "postgres://${local.address.postgres}/game"
  live          = var.tls ? "postgres+tls://game@${local.address.postgres}" : "postgres://${local.address.postgres}"
  start_seconds = 60
  incarnation   = merge(local.supervised, { epoch = lookup(var.epochs, "postgres", 0) })
}

module "aws" {
  source = "../../modules/local_process"

  name        = "aws"
  kind        = "aws"
  region_dir  = var.region_dir
  port        = var.ports.aws
  tls         = var.tls
  ready       = "${local.http}://${local.address.aws}/healthz"
  live        = "${local.http}://${local.address.aws}/healthz"
  environment = { MINISTACK_REGION = var.region }
  incarnation = merge(local.supervised, { epoch = lookup(var.epochs, "aws", 0) })
}
