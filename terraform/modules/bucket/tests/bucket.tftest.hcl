mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  bucket      = "arena-prod-eu-west-1-123456789012-logs"
  expire_days = 90
}

run "makes_a_private_versioned_bucket" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.main.restrict_public_buckets && aws_s3_bucket_versioning.main.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket must be private and versioned."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.main.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "A bucket without a customer key must be encrypted with S3's key."
  }
}

run "encrypts_objects_with_the_given_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/a"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.main.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "The objects of a bucket must be encrypted with the key in `kms_key_arn`."
  }
}

run "rejects_an_invalid_bucket_name" {
  command = plan

  variables {
    bucket = "Not_A_Bucket"
  }

  expect_failures = [var.bucket]
}
