mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  definition = yamldecode(file("../data_plane/data-plane.yaml")).identity
  name       = "arena-prod"
  region     = "us-east-1"
}

run "protects_accounts" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.players.mfa_configuration == "OPTIONAL" && aws_cognito_user_pool.players.deletion_protection == "ACTIVE"
    error_message = "Players must be able to add a second factor, and the pool must be protected from deletion."
  }

  assert {
    condition     = !aws_cognito_user_pool_client.game.generate_secret && aws_cognito_user_pool_client.game.prevent_user_existence_errors == "ENABLED"
    error_message = "The app client must have no secret, and errors of Cognito must not show whether an account exists."
  }
}

run "uses_the_cheaper_tier_without_threat_protection" {
  command = plan

  variables {
    threat_protection = "OFF"
  }

  assert {
    condition     = aws_cognito_user_pool.players.user_pool_tier == "ESSENTIALS"
    error_message = "Without threat protection the pool must use the tier ESSENTIALS."
  }
}

run "rejects_a_pool_without_a_second_factor" {
  command = plan

  variables {
    mfa = "OFF"
  }

  expect_failures = [var.mfa]
}

run "makes_a_group_for_internal_accounts" {
  command = plan

  assert {
    condition     = aws_cognito_user_group.internal.name == "internal" && aws_cognito_user_group.internal.role_arn == null
    error_message = "The group of internal accounts must have no role in AWS."
  }
}
