mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  bucket      = "arena-terraform-state-123456789012"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
}

run "outputs_the_name_of_the_bucket" {
  command = apply

  assert {
    condition     = output.bucket != ""
    error_message = "The output `bucket` must not be empty."
  }
}

run "rejects_a_short_retention_of_old_states" {
  command = plan

  variables {
    noncurrent_days = 1
  }

  expect_failures = [var.noncurrent_days]
}
