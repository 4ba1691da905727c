terraform {
  required_version = ">= 1.11"

  # The first run has no bucket to keep a state in; `mjctl bootstrap` then moves it there, as `bootstrap.tfstate`.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
