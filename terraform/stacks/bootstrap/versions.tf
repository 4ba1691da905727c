terraform {
  required_version = ">= 1.11"

  # At the first apply of the stack `bootstrap`, the bucket for states does not exist yet, so the state of `bootstrap`
  # is a local file. After the apply, `mjctl bootstrap` moves the local file into the bucket, as `bootstrap.tfstate`.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
