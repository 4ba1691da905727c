mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  associations = { game = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/arena-prod-game/0123456789abcdef" }
  kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name         = "arena-prod"
  region       = "eu-west-1"
  scope        = "REGIONAL"
}

run "limits_requests_and_logs_blocked_ones" {
  command = plan

  assert {
    condition     = length(aws_wafv2_web_acl.main.rule) == 4 && startswith(aws_cloudwatch_log_group.main.name, "aws-waf-logs-")
    error_message = "The web ACL must have a rate limit, three managed rule groups and a log group whose name WAF accepts."
  }

  assert {
    condition     = length(aws_shield_protection.resource) == 0
    error_message = "Without shield_protections, the module must not use Shield Advanced, which costs money."
  }
}

run "blocks_requests_without_a_user_agent_by_default" {
  command = plan

  assert {
    condition     = alltrue([for rule in aws_wafv2_web_acl.main.rule : alltrue([for group in rule.statement[0].managed_rule_group_statement : length(group.rule_action_override) == 0])])
    error_message = "By default no rule may be overridden."
  }
}

run "only_counts_requests_without_a_user_agent_for_native_clients" {
  command = plan

  variables {
    native_clients = true
  }

  assert {
    condition     = [for rule in aws_wafv2_web_acl.main.rule : rule.name if anytrue([for group in rule.statement[0].managed_rule_group_statement : anytrue([for override in group.rule_action_override : override.name == "NoUserAgent_HEADER" && length(override.action_to_use[0].count) == 1])])] == ["AWSManagedRulesCommonRuleSet"]
    error_message = "With native_clients, the rule NoUserAgent_HEADER must count."
  }
}

run "counts_every_request_by_default" {
  command = plan

  assert {
    condition     = length(aws_wafv2_regex_pattern_set.load_tests) == 0
    error_message = "By default, no request may pass the rate limit."
  }
}

run "does_not_count_requests_with_the_token_of_a_load_test" {
  command = plan

  variables {
    load_tests = true
  }

  assert {
    condition     = [for expression in aws_wafv2_regex_pattern_set.load_tests[0].regular_expression : expression.regex_string] == ["^\\n"]
    error_message = "Without a load test, the pattern set must match no header."
  }
}

run "rejects_load_tests_of_a_distribution" {
  command = plan

  variables {
    associations = {}
    load_tests   = true
    region       = "us-east-1"
    scope        = "CLOUDFRONT"
  }

  expect_failures = [var.load_tests]
}

run "protects_the_given_resources_with_shield" {
  command = plan

  variables {
    shield_protections = { game = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/b" }
  }

  assert {
    condition     = length(aws_shield_protection.resource) == 1
    error_message = "Each of shield_protections must get a protection by Shield Advanced."
  }
}

run "rejects_the_scope_cloudfront_outside_us_east_1" {
  command = plan

  variables {
    associations = {}
    scope        = "CLOUDFRONT"
  }

  expect_failures = [var.scope]
}

run "rejects_an_association_with_a_distribution" {
  command = plan

  variables {
    region = "us-east-1"
    scope  = "CLOUDFRONT"
  }

  expect_failures = [var.associations]
}

run "allows_a_user_pool_only_the_given_operations_and_its_public_keys" {
  command = plan

  variables {
    associations     = { players = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbCdEfGhI" }
    name             = "arena-prod-players"
    native_clients   = true
    token_operations = ["RevokeToken", "GetUser"]
  }

  assert {
    condition     = length(aws_wafv2_web_acl.main.default_action[0].block) == 1 && length(aws_wafv2_web_acl.main.default_action[0].allow) == 0
    error_message = "The web ACL of a user pool must block requests by default."
  }

  assert {
    condition     = toset([for rule in aws_wafv2_web_acl.main.rule : rule.name]) == toset(["public-keys", "token-operations"]) && alltrue([for rule in aws_wafv2_web_acl.main.rule : length(rule.action[0].allow) == 1])
    error_message = "The web ACL of a user pool must have no rate limit and no managed rules."
  }

  assert {
    condition = alltrue(flatten([for rule in aws_wafv2_web_acl.main.rule : [
      for match in rule.statement[0].regex_match_statement : [
        match.field_to_match[0].single_header[0].name == "x-amzn-cognito-operation-name",
        [for operation in ["GetUser", "RevokeToken", "ChangePassword", "AdminGetUser", "GetUserAttributeVerificationCode", "GetUser,ChangePassword", ""] : operation if can(regex(match.regex_string, operation))] == ["GetUser", "RevokeToken"],
      ]
    ] if rule.name == "token-operations"]))
    error_message = "Only the given operations may pass, by their whole names."
  }

  assert {
    condition = alltrue(flatten([for rule in aws_wafv2_web_acl.main.rule : [
      for part in flatten([for both in rule.statement[0].and_statement : both.statement]) : [
        [for match in part.regex_match_statement : [for path in ["/eu-west-1_AbCdEfGhI/.well-known/jwks.json", "/eu-west-1_AbCdEfGhI/.well-known/openid-configuration", "/", "/x/y/.well-known/jwks.json", "/oauth2/token"] : path if can(regex(match.regex_string, path))] == ["/eu-west-1_AbCdEfGhI/.well-known/jwks.json", "/eu-west-1_AbCdEfGhI/.well-known/openid-configuration"]],
        [for negation in part.not_statement : negation.statement[0].regex_match_statement[0].field_to_match[0].single_header[0].name == "x-amzn-cognito-operation-name"],
      ]
    ] if rule.name == "public-keys"]))
    error_message = "The rule public-keys must allow only the two addresses of public keys, and no operation."
  }
}

run "rejects_operations_of_a_user_pool_for_load_tests" {
  command = plan

  variables {
    load_tests       = true
    token_operations = ["GetUser"]
  }

  expect_failures = [var.token_operations]
}

run "rejects_an_operation_that_is_a_pattern" {
  command = plan

  variables {
    token_operations = [".*"]
  }

  expect_failures = [var.token_operations]
}
