mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  region      = "eu-west-1"
  tables      = { matches = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/arena-prod-matches", name = "arena-prod-matches" } }
}

run "names_the_replica_in_its_region" {
  command = plan

  assert {
    condition     = output.tables["matches"].arn == "arn:aws:dynamodb:eu-west-1:123456789012:table/arena-prod-matches"
    error_message = "The ARN has the replica's region."
  }
}

run "refuses_the_tables_own_region" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [var.region]
}
