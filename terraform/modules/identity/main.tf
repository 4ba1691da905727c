locals {
  policy = var.definition.password_policy
}

resource "aws_cognito_user_pool" "players" {
  name                     = "${var.name}-players"
  auto_verified_attributes = ["email"]
  deletion_protection      = var.deletion_protection ? "ACTIVE" : "INACTIVE"
  mfa_configuration        = "OPTIONAL"
  user_pool_tier           = var.threat_protection == "OFF" ? "ESSENTIALS" : "PLUS"
  username_attributes      = var.definition.username_attributes

  # The id of the app client is public. If the pool allowed a sign-up or a reset of a password without AWS credentials,
  # strangers could call these operations at Cognito, past the API's firewall and limits. The function `auth` creates
  # accounts and sets passwords with AWS credentials:
  # https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-admin-create-user-policy.html
  # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ForgotPassword.html
  account_recovery_setting {
    recovery_mechanism {
      name     = "admin_only"
      priority = 1
    }
  }

  admin_create_user_config {
    allow_admin_create_user_only = true
  }

  # Cognito sends a code by mail only if an operator changes the address of a player. The function `auth` sends all other
  # mail. Without SES, Cognito would send 50 mails a day for the whole account:
  # https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
  email_configuration {
    configuration_set     = var.sender.configuration_set
    email_sending_account = "DEVELOPER"
    from_email_address    = var.sender.address
    source_arn            = var.sender.identity_arn
  }

  password_policy {
    minimum_length                   = local.policy.minimum_length
    password_history_size            = 5
    require_lowercase                = local.policy.lowercase
    require_numbers                  = local.policy.numbers
    require_symbols                  = local.policy.symbols
    require_uppercase                = local.policy.uppercase
    temporary_password_validity_days = 1
  }

  software_token_mfa_configuration {
    enabled = true
  }

  # Cognito replaces a player's email address only after the player has verified the new address.
  user_attribute_update_settings {
    attributes_require_verification_before_update = ["email"]
  }

  user_pool_add_ons {
    advanced_security_mode = var.threat_protection
  }

  username_configuration {
    case_sensitive = false
  }
}

# Cognito's app client has no secret, because a secret would be in Terraform's state. Players cannot log in at Cognito
# itself: the log-in ADMIN_USER_PASSWORD_AUTH needs the AWS credentials of the function `auth`. With
# `prevent_user_existence_errors`, an error of Cognito does not show whether an account exists.
#
# Cognito replaces a refresh token at each use. A client whose answer was lost can repeat the call with the old refresh
# token during the grace period. An app client that rotates refresh tokens renews tokens by GetTokensFromRefreshToken and
# does not have the flow ALLOW_REFRESH_TOKEN_AUTH:
# https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html
resource "aws_cognito_user_pool_client" "game" {
  name                          = "${var.name}-game"
  user_pool_id                  = aws_cognito_user_pool.players.id
  enable_token_revocation       = true
  explicit_auth_flows           = ["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
  generate_secret               = false
  prevent_user_existence_errors = "ENABLED"

  # With an access token, a player could change each attribute in this list at Cognito itself. Without a list, the app client
  # could write every standard attribute, also the e-mail address. The game does not use the attribute `locale`.
  # https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-attributes.html
  write_attributes = ["locale"]

  access_token_validity  = var.definition.access_token_minutes
  id_token_validity      = var.definition.access_token_minutes
  refresh_token_validity = var.definition.refresh_token_days

  refresh_token_rotation {
    feature                    = "ENABLED"
    retry_grace_period_seconds = 30
  }

  token_validity_units {
    access_token  = "minutes"
    id_token      = "minutes"
    refresh_token = "days"
  }
}

# The group marks the accounts of probes and load tests. Accounts in the group appear on no leaderboard, and the items
# of their matches expire. Only a call with AWS credentials can add a user to the group. The group gives no permissions
# in AWS. An access token contains the names of the player's groups:
# https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
resource "aws_cognito_user_group" "internal" {
  name         = var.definition.internal_group
  description  = "Probe and load-test accounts of mjctl"
  user_pool_id = aws_cognito_user_pool.players.id
}
