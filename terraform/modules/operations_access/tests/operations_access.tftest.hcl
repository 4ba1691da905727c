mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id       = "123456789012"
  cache_statements = { CacheLogIn = { actions = ["elasticache:Connect"], resources = ["arn:aws:elasticache:eu-west-1:123456789012:replicationgroup:arena-prod-eu-west-1"] } }
  environment      = { GAMESERVER_PROJECT = "arena" }
  handler          = "gameserver.functions.lambda_handlers.ops"
  kms_key_arn      = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name             = "arena-prod"
  package          = { path = "artefacts/functions.zip", sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  pass             = { condition = { test = "StringEquals", values = ["operator-pass"], variable = "kms:EncryptionContext:purpose" }, key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-abcdef0123456789abcdef0123456789" }
  region           = "eu-west-1"
  user_pool_arn    = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEfGhI"

  network = {
    cidr       = "10.20.0.0/16"
    subnet_ids = ["subnet-0a", "subnet-0b", "subnet-0c"]
    vpc_id     = "vpc-0123456789abcdef0"
  }
}

run "makes_no_operator_role_without_operators" {
  command = plan

  assert {
    condition     = length(aws_iam_role.operator) == 0
    error_message = "Without operators there must be no operator role."
  }
}

run "makes_a_role_for_the_named_operators" {
  command = plan

  variables {
    operators = ["arn:aws:iam::123456789012:role/operations"]
  }

  assert {
    condition     = length(aws_iam_role.operator) == 1 && aws_iam_role.operator[0].max_session_duration == 3600
    error_message = "A session of the operator role must end after an hour."
  }
}

run "rejects_a_whole_account_as_operator" {
  command = plan

  variables {
    operators = ["arn:aws:iam::123456789012:root"]
  }

  expect_failures = [var.operators]
}
