# Runs one process under the supervisor of a local region.
#
# Terraform creates a replacement before it destroys the predecessor. Creating the replacement makes the supervisor
# stop the old process, start the new process and wait until the new process is ready. Destroying the predecessor then
# does nothing, because the predecessor no longer owns the process. Resources that depend on the process therefore
# keep running, and game servers are replaced one after another.
resource "terraform_data" "process" {
  input = {
    name       = var.name
    region_dir = var.region_dir
  }

  triggers_replace = {
    definition  = local.definition
    incarnation = var.incarnation
  }

  lifecycle {
    create_before_destroy = true
  }

  provisioner "local-exec" {
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local start"
    environment = { MJCTL_INPUT = jsonencode(merge(local.definition, { owner = self.id })) }
    quiet       = true
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "exec \"$${MJCTL_PYTHON:-python3}\" -m mjctl.local stop"
    environment = { MJCTL_INPUT = jsonencode(merge(self.output, { owner = self.id })) }
    quiet       = true
  }
}

locals {
  # Without TLS the definition has no field `tls`, so that a region from before that option keeps its processes.
  definition = merge(local.common_definition, { for field in var.tls ? ["tls"] : [] : field => true })

  common_definition = {
    arguments     = var.arguments
    environment   = var.environment
    kind          = var.kind
    live          = var.live
    name          = var.name
    port          = var.port
    ready         = var.ready
    region_dir    = var.region_dir
    rolling       = var.rolling
    start_seconds = var.start_seconds
    stop_seconds  = var.stop_seconds
  }
}
