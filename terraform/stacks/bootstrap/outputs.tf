output "contract" {
  description = "What the other stacks' backend needs."
  value = {
    version     = 1
    bucket      = module.state.bucket
    kms_key_arn = module.keys.arns["terraform-state"]
    region      = var.region
  }
}
