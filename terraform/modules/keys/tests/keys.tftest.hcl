mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  account_id = "123456789012"
  name       = "arena-prod"
  region     = "us-east-1"

  keys = {
    storage = { description = "Tables, databases, queues and logs", multi_region = true, services = ["logs", "sns"] }
  }
}

run "makes_primaries_that_rotate" {
  command = plan

  assert {
    condition     = aws_kms_key.primary["storage"].enable_key_rotation && aws_kms_key.primary["storage"].multi_region
    error_message = "The key rotates and can be replicated."
  }
}

run "makes_replicas_whose_arn_is_known" {
  command = plan

  variables {
    keys   = { storage = { description = "Replica", primary_key_arn = "arn:aws:kms:us-east-1:123456789012:key/mrk-1" } }
    region = "eu-west-1"
  }

  assert {
    condition     = output.arns["storage"] == "arn:aws:kms:eu-west-1:123456789012:key/mrk-1"
    error_message = "A replica has the primary's id in its own region."
  }
}

run "passes_existing_keys_through" {
  command = plan

  variables {
    existing = { storage = "arn:aws:kms:us-east-1:123456789012:key/mrk-1" }
    keys     = {}
  }

  assert {
    condition     = output.arns == { storage = "arn:aws:kms:us-east-1:123456789012:key/mrk-1" } && length(aws_kms_key.primary) == 0
    error_message = "Nothing is made."
  }
}

run "refuses_an_alias" {
  command = plan

  variables {
    existing = { other = "alias/other" }
  }

  expect_failures = [var.existing]
}

run "refuses_a_short_window" {
  command = plan

  variables {
    deletion_window_days = 1
  }

  expect_failures = [var.deletion_window_days]
}
