mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id = "123456789012"
  name       = "arena-prod"
  region     = "us-east-1"

  keys = {
    storage = { description = "Tables, databases, queues and logs", multi_region = true, services = ["logs", "sns"] }
  }
}

run "makes_primary_keys_that_rotate" {
  command = plan

  assert {
    condition     = aws_kms_key.primary["storage"].enable_key_rotation && aws_kms_key.primary["storage"].multi_region
    error_message = "A primary key must rotate and allow replicas."
  }
}

run "knows_the_arn_of_a_replica_at_plan" {
  command = plan

  variables {
    keys   = { storage = { description = "Replica", primary_key_arn = "arn:aws:kms:us-east-1:123456789012:key/mrk-1" } }
    region = "eu-west-1"
  }

  assert {
    condition     = output.arns["storage"] == "arn:aws:kms:eu-west-1:123456789012:key/mrk-1"
    error_message = "A replica's ARN must have the id of the primary key and the replica's region."
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
    error_message = "Existing keys must appear in the output, and no key may be created."
  }
}

run "rejects_the_arn_of_an_alias" {
  command = plan

  variables {
    existing = { other = "alias/other" }
  }

  expect_failures = [var.existing]
}

run "rejects_a_short_deletion_window" {
  command = plan

  variables {
    deletion_window_days = 1
  }

  expect_failures = [var.deletion_window_days]
}

run "makes_an_hmac_key_without_rotation" {
  command = plan

  variables {
    keys = { codes = { description = "Codes in the mail to players", hmac = true } }
  }

  assert {
    condition     = aws_kms_key.primary["codes"].customer_master_key_spec == "HMAC_256" && aws_kms_key.primary["codes"].key_usage == "GENERATE_VERIFY_MAC"
    error_message = "A key with hmac must make message authentication codes."
  }

  assert {
    condition     = !aws_kms_key.primary["codes"].enable_key_rotation
    error_message = "KMS refuses to rotate an HMAC key."
  }
}
