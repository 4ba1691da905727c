terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # The provider `us_east_1` creates the log delivery of CloudFront, which exists only in us-east-1.
      configuration_aliases = [aws.us_east_1]
    }
  }
}
