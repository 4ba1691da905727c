terraform {
  required_version = ">= 1.11"

  # The state of what makes the state bucket stays with who made it; it can be imported again at any time.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
