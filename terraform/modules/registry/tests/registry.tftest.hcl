mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id      = "123456789012"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name            = "arena-prod"
  replica_regions = ["us-east-1"]
}

run "makes_immutable_tags_and_replicates" {
  command = plan

  assert {
    condition     = aws_ecr_repository.game.image_tag_mutability == "IMMUTABLE" && length(aws_ecr_replication_configuration.regions) == 1
    error_message = "Tags must be immutable, and images must be replicated to the other regions."
  }
}

run "replicates_nothing_in_a_single_region" {
  command = plan

  variables {
    replica_regions = []
  }

  assert {
    condition     = length(aws_ecr_replication_configuration.regions) == 0
    error_message = "Without other regions, the account's replication configuration must stay unchanged."
  }
}
