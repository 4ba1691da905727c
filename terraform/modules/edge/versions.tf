terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # Provider for us-east-1: CloudFront delivers its logs only from there.
      configuration_aliases = [aws.us_east_1]
    }
  }
}
