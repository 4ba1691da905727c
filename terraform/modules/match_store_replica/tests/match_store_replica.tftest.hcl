mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  region      = "eu-west-1"
  tables      = { matches = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/arena-prod-matches", name = "arena-prod-matches" } }
}

run "outputs_the_arn_in_the_region_of_the_replica" {
  command = plan

  assert {
    condition     = output.tables["matches"].arn == "arn:aws:dynamodb:eu-west-1:123456789012:table/arena-prod-matches"
    error_message = "The ARN of a replica must contain the region of the replica."
  }
}

run "rejects_the_region_of_the_tables" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [var.region]
}
