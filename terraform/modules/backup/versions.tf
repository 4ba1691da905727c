terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # The provider `copy` is for the region that keeps the copies of recovery points.
      configuration_aliases = [aws.copy]
    }
  }
}
