mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name        = "arena-prod"
  tables      = yamldecode(file("../data_plane/data-plane.yaml")).tables
}

run "makes_every_table_of_the_data_plane" {
  command = plan

  assert {
    condition     = toset(keys(aws_dynamodb_table.table)) == toset(["matches", "players", "processed_events", "rate_limits"])
    error_message = "The planned tables must be the tables of data-plane.yaml."
  }

  assert {
    condition     = alltrue([for table in aws_dynamodb_table.table : table.stream_enabled && table.point_in_time_recovery[0].enabled && table.deletion_protection_enabled])
    error_message = "Each table must have a stream, point-in-time recovery and deletion protection."
  }
}

run "rejects_a_key_without_a_type" {
  command = plan

  variables {
    tables = { broken = { hash_key = "id", attributes = { other = "S" }, ttl_attribute = "expires_at" } }
  }

  expect_failures = [var.tables]
}
