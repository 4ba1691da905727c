terraform {
  required_version = ">= 1.11"

  # The first run starts before the bucket exists. `mjctl bootstrap` then moves this state into the bucket, as
  # `bootstrap.tfstate`.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
