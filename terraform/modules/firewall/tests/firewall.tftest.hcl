mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  associations = { game = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/arena-prod-game/0123456789abcdef" }
  kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name         = "arena-prod"
  region       = "eu-west-1"
  scope        = "REGIONAL"
}

run "limits_and_logs" {
  command = plan

  assert {
    condition     = length(aws_wafv2_web_acl.main.rule) == 4 && startswith(aws_cloudwatch_log_group.main.name, "aws-waf-logs-")
    error_message = "A rate limit, three managed groups, and a log that WAF accepts."
  }

  assert {
    condition     = length(aws_shield_protection.resource) == 0
    error_message = "Shield Advanced costs money only when asked for."
  }
}

run "protects_with_shield_when_asked" {
  command = plan

  variables {
    shield_protections = { game = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/b" }
  }

  assert {
    condition     = length(aws_shield_protection.resource) == 1
    error_message = "One switch."
  }
}

run "refuses_cloudfront_elsewhere" {
  command = plan

  variables {
    associations = {}
    scope        = "CLOUDFRONT"
  }

  expect_failures = [var.scope]
}

run "refuses_to_associate_a_distribution" {
  command = plan

  variables {
    region = "us-east-1"
    scope  = "CLOUDFRONT"
  }

  expect_failures = [var.associations]
}
