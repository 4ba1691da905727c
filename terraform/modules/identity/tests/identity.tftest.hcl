mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  definition = yamldecode(file("../data_plane/data-plane.yaml")).identity
  name       = "arena-prod"
  region     = "us-east-1"
}

run "protects_accounts" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.players.mfa_configuration == "OPTIONAL" && aws_cognito_user_pool.players.deletion_protection == "ACTIVE"
    error_message = "A second factor can be added, and the pool cannot be deleted."
  }

  assert {
    condition     = !aws_cognito_user_pool_client.game.generate_secret && aws_cognito_user_pool_client.game.prevent_user_existence_errors == "ENABLED"
    error_message = "No secret, and no answer that tells who has an account."
  }
}

run "goes_without_the_plus_tier" {
  command = plan

  variables {
    threat_protection = "OFF"
  }

  assert {
    condition     = aws_cognito_user_pool.players.user_pool_tier == "ESSENTIALS"
    error_message = "Only threat protection needs the PLUS tier."
  }
}

run "refuses_to_go_without_a_second_factor" {
  command = plan

  variables {
    mfa = "OFF"
  }

  expect_failures = [var.mfa]
}

run "marks_accounts_that_are_no_players" {
  command = plan

  assert {
    condition     = aws_cognito_user_group.internal.name == "internal" && aws_cognito_user_group.internal.role_arn == null
    error_message = "Probe and load-test accounts are a group without rights in AWS."
  }
}
