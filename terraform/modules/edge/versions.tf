terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # CloudFront's logs are delivered from there, wherever the stack stands.
      configuration_aliases = [aws.us_east_1]
    }
  }
}
