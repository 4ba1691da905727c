# Terraform creates these parts before the processes of the game start: tables, queues, topics, a user pool and keys in
# the emulated AWS, and the schema in PostgreSQL.

locals {
  data_plane_definition = "${path.module}/../../modules/data_plane/data-plane.yaml"
  migrations            = "${path.module}/../../../gameserver/migrations"
  prefix                = "${var.project}-${var.environment}"

  # The file run/data-plane.json exists only after terraform_data.data_plane has been created. A plan that creates
  # terraform_data.data_plane does not know the path of run/data-plane.json, and does not read the file. `terraform
  # destroy` works without run/data-plane.json too. If run/data-plane.json is lost, every other plan fails by the
  # postcondition of terraform_data.data_plane.
  data_plane = try(jsondecode(file(terraform_data.data_plane.output.manifest)), local.lost_data_plane)

  data_plane_input = {
    ca_file    = local.ca_file
    definition = abspath(local.data_plane_definition)
    endpoint   = "${local.http}://${local.address.aws}"
    prefix     = local.prefix
    region     = var.region
    region_dir = var.region_dir
  }

  lost_data_plane = {
    account_id = ""
    identity   = { client_id = "", issuer = "", jwks_url = "", user_pool_id = "" }
    keys       = { data = "" }
    queues     = { persistence = { url = "" } }
    tables     = {}
    topics     = { events = "" }
  }
}

resource "terraform_data" "data_plane" {
  input = { manifest = "${var.region_dir}/run/data-plane.json" }

  triggers_replace = {
    definition = filesha256(local.data_plane_definition)
    endpoint   = "${local.http}://${local.address.aws}"
    epoch      = lookup(var.epochs, "data-plane", 0)
    prefix     = local.prefix
    region     = var.region
    supervisor = terraform_data.supervisor.id
  }

  lifecycle {
    create_before_destroy = true

    postcondition {
      condition     = fileexists(self.output.manifest)
      error_message = "${self.output.manifest} does not exist. Run `mjctl deploy`, or raise epochs[\"data-plane\"], to write the file again."
    }
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local data-plane"
    environment = { MJCTL_INPUT = jsonencode(local.data_plane_input) }
    quiet       = true
  }

  depends_on = [module.aws]
}

# data_plane_repair repairs tables, queues, topics and settings that were changed or deleted in the emulated AWS. The
# repair of the data plane changes no name and no id, so Terraform replaces no process and interrupts no match. At
# epoch 0, data_plane_repair does nothing.
resource "terraform_data" "data_plane_repair" {
  triggers_replace = { epoch = lookup(var.epochs, "data-plane-repair", 0) }

  provisioner "local-exec" {
    command = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local data-plane"
    environment = {
      MJCTL_INPUT = jsonencode(merge(local.data_plane_input, { epoch = lookup(var.epochs, "data-plane-repair", 0) }))
    }
    quiet = true
  }

  depends_on = [terraform_data.data_plane]
}

resource "terraform_data" "schema" {
  triggers_replace = {
    migrations = sha256(join("", [
      for file in sort(fileset(local.migrations, "**/*.py")) : filesha256("${local.migrations}/${file}")
    ]))
    database = module.postgres.id
    epoch    = lookup(var.epochs, "schema", 0)
  }

  lifecycle {
    create_before_destroy = true
  }

  provisioner "local-exec" {
    command = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local migrate"
    environment = {
      MJCTL_INPUT = jsonencode({ region_dir = var.region_dir, environment = local.database_environment })
    }
    quiet = true
  }
}
