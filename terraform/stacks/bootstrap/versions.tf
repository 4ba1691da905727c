terraform {
  required_version = ">= 1.11"

  # The bucket for states does not exist before the first apply of the stack `bootstrap`, so that its state is a local
  # file. `mjctl bootstrap` then moves the state file into the bucket, as `bootstrap.tfstate`.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
