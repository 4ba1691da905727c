mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

mock_provider "aws" {
  alias = "copy"

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id       = "123456789012"
  copy_kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
  copy_region      = "us-east-1"
  kms_key_arn      = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name             = "arena-prod"
  region           = "eu-west-1"
  resources        = { matches = "arn:aws:dynamodb:eu-west-1:123456789012:table/arena-prod-matches" }
}

run "copies_every_backup_and_locks_both_vaults" {
  command   = plan
  providers = { aws = aws, aws.copy = aws.copy }

  assert {
    condition     = alltrue([for rule in aws_backup_plan.main.rule : alltrue([for action in rule.copy_action : startswith(action.destination_vault_arn, "arn:aws:backup:us-east-1:")])])
    error_message = "Every rule of the backup plan must copy its recovery points to the other region."
  }

  assert {
    condition     = length(aws_backup_vault_lock_configuration.main) == 1 && length(aws_backup_vault_lock_configuration.copy) == 1
    error_message = "The vault of the region and the vault of the copies must be locked."
  }
}

run "rejects_copies_in_the_same_region" {
  command   = plan
  providers = { aws = aws, aws.copy = aws.copy }

  variables {
    copy_region = "eu-west-1"
  }

  expect_failures = [var.copy_region]
}

run "rejects_copies_that_expire_before_the_backups" {
  command   = plan
  providers = { aws = aws, aws.copy = aws.copy }

  variables {
    retention_days = { daily = 35, copies = 7 }
  }

  expect_failures = [var.retention_days]
}
