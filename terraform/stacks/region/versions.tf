terraform {
  required_version = ">= 1.11"

  # The rest comes by -backend-config: bucket, key, region, kms_key_id.
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
