output "contract" {
  description = "Values for the backend configuration of the other stacks."
  value = {
    version     = 1
    bucket      = module.state.bucket
    kms_key_arn = module.keys.arns["terraform-state"]
    region      = var.region
  }
}
