terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # Provider for the region that keeps the copies.
      configuration_aliases = [aws.copy]
    }
  }
}
