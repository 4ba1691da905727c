# One process under the region's supervisor.
#
# A replacement is created before its predecessor is destroyed. Creating it makes the supervisor exchange the process
# (it stops the old, starts the new and waits until that is ready); destroying the predecessor then does nothing, for it
# no longer owns the process. So nothing that depends on the process has to be stopped for it, and game servers are
# exchanged one after another instead of all being stopped first.
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
  # Named only where it is on: a region that was deployed before there was TLS keeps its processes.
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
