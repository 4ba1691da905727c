mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  bucket      = "arena-terraform-state-123456789012"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
}

run "keeps_old_states" {
  command = apply

  assert {
    condition     = output.bucket != ""
    error_message = "The bucket has a name."
  }
}

run "refuses_to_forget_soon" {
  command = plan

  variables {
    noncurrent_days = 1
  }

  expect_failures = [var.noncurrent_days]
}
