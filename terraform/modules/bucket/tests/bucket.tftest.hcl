mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  bucket      = "arena-prod-eu-west-1-123456789012-logs"
  expire_days = 90
}

run "is_private" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.main.restrict_public_buckets && aws_s3_bucket_versioning.main.versioning_configuration[0].status == "Enabled"
    error_message = "Private and versioned."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.main.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Encrypted, with S3's own key when none is given."
  }
}

run "uses_the_given_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/a"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.main.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "Encrypted with the given key."
  }
}

run "refuses_a_name_that_s3_refuses" {
  command = plan

  variables {
    bucket = "Not_A_Bucket"
  }

  expect_failures = [var.bucket]
}
