terraform {
  required_version = ">= 1.11"

  # mjctl passes the state's bucket, key, region and kms_key_id by `terraform init -backend-config`.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
