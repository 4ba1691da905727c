provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]
  s3_use_path_style   = var.target == "sandbox"

  default_tags {
    tags = { Project = var.project, Stack = "bootstrap" }
  }
}

module "keys" {
  source = "../../modules/keys"

  account_id = var.account_id
  name       = var.project
  region     = var.region

  keys = { terraform-state = { description = "Terraform states and plans of ${var.project}" } }
}

module "state" {
  source = "../../modules/state"

  bucket      = var.bucket
  kms_key_arn = module.keys.arns["terraform-state"]
}
