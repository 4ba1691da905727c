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

  sender = {
    address           = "no-reply@arena.example.com"
    configuration_set = "arena-prod-players"
    identity_arn      = "arn:aws:ses:us-east-1:123456789012:identity/arena.example.com"
  }
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

run "keeps_players_from_logging_in_at_cognito" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool_client.game.explicit_auth_flows == toset(["ALLOW_ADMIN_USER_PASSWORD_AUTH"])
    error_message = "Only a caller with AWS credentials may log players in."
  }

  assert {
    condition     = aws_cognito_user_pool_client.game.refresh_token_rotation[0].feature == "ENABLED"
    error_message = "Cognito must replace a refresh token at each use."
  }
}

run "lets_only_the_function_auth_create_accounts_and_reset_passwords" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.players.admin_create_user_config[0].allow_admin_create_user_only
    error_message = "Cognito must refuse a sign-up without AWS credentials."
  }

  assert {
    condition     = one(aws_cognito_user_pool.players.account_recovery_setting[0].recovery_mechanism[*].name) == "admin_only"
    error_message = "Cognito must refuse the reset of a password without AWS credentials."
  }

  assert {
    condition     = !contains(aws_cognito_user_pool_client.game.write_attributes, "email")
    error_message = "An access token must not be enough to change the e-mail address."
  }
}

run "sends_mail_by_ses" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.players.email_configuration[0].email_sending_account == "DEVELOPER"
    error_message = "Cognito itself sends only 50 mails a day."
  }
}

run "makes_a_group_for_internal_accounts" {
  command = plan

  assert {
    condition     = aws_cognito_user_group.internal.name == "internal" && aws_cognito_user_group.internal.role_arn == null
    error_message = "The group of internal accounts must have no role in AWS."
  }
}
