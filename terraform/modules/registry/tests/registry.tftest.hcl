mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  account_id      = "123456789012"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name            = "arena-prod"
  replica_regions = ["us-east-1"]
}

run "keeps_tags_and_replicates" {
  command = plan

  assert {
    condition     = aws_ecr_repository.game.image_tag_mutability == "IMMUTABLE" && length(aws_ecr_replication_configuration.regions) == 1
    error_message = "A tag means one image for ever, in every region."
  }
}

run "replicates_nothing_in_one_region" {
  command = plan

  variables {
    replica_regions = []
  }

  assert {
    condition     = length(aws_ecr_replication_configuration.regions) == 0
    error_message = "The account's configuration is left alone."
  }
}
