# Runs one process under the supervisor of a local region.
#
# Terraform creates the new resource of a process before it destroys the old resource. When Terraform creates the new
# resource, the supervisor stops the old process, starts the new process and waits until the new process is ready. When
# Terraform destroys the old resource, nothing happens, because the old resource no longer owns the process. The
# processes that depend on the replaced process keep running, and Terraform replaces game servers one after another.
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
  # Without TLS, the definition of a process has no field `tls`, so that a deploy does not replace the processes of a
  # region from before the field existed.
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
