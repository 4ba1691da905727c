locals {
  guards_user_pool = length(var.token_operations) > 0
  # Rule groups that AWS maintains, in the order in which WAF evaluates the groups.
  managed_groups = local.guards_user_pool ? [] : ["AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"]
  # Rules of the groups that count requests and block none.
  counted_rules = merge(
    { for group in local.managed_groups : group => toset([]) },
    var.native_clients && !local.guards_user_pool ? { AWSManagedRulesCommonRuleSet = toset(["NoUserAgent_HEADER"]) } : {},
  )
  metric = replace(title("${var.name}-${lower(var.scope)}"), "-", "")
}

# mjctl writes the token of a load test into the pattern set, and removes the token at the end
# (mjctl/clients/firewall_tokens.py). The first pattern matches no request, because no header begins with a line feed.
resource "aws_wafv2_regex_pattern_set" "load_tests" {
  count = var.load_tests ? 1 : 0

  name        = "${var.name}-load-tests"
  description = "Tokens of load tests, written by mjctl"
  scope       = var.scope

  regular_expression {
    regex_string = "^\\n"
  }

  lifecycle {
    ignore_changes = [regular_expression]
  }
}

resource "aws_wafv2_web_acl" "main" {
  #checkov:skip=CKV_AWS_192:checkov does not evaluate dynamic rules. AWSManagedRulesKnownBadInputsRuleSet is in `managed_groups`.
  name        = "${var.name}-${lower(var.scope)}"
  description = local.guards_user_pool ? "Operations for players' tokens" : "Rate limit and managed rules"
  scope       = var.scope

  default_action {
    dynamic "allow" {
      for_each = local.guards_user_pool ? [] : [true]
      content {}
    }

    dynamic "block" {
      for_each = local.guards_user_pool ? [true] : []
      content {}
    }
  }

  # A user pool has no rate limit by address, because the functions of all players' requests share a few addresses. The
  # functions count the requests of each player.
  dynamic "rule" {
    for_each = local.guards_user_pool ? [] : [var.rate_limit]

    content {
      name     = "rate-limit"
      priority = 0

      action {
        block {}
      }

      statement {
        rate_based_statement {
          aggregate_key_type = "IP"
          limit              = rule.value

          # The rate limit does not count the requests of a load test, whose players have one address.
          dynamic "scope_down_statement" {
            for_each = aws_wafv2_regex_pattern_set.load_tests

            content {
              not_statement {
                statement {
                  regex_pattern_set_reference_statement {
                    arn = scope_down_statement.value.arn

                    field_to_match {
                      single_header {
                        name = "x-load-test"
                      }
                    }

                    text_transformation {
                      priority = 0
                      type     = "NONE"
                    }
                  }
                }
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.metric}RateLimit"
        sampled_requests_enabled   = true
      }
    }
  }

  # Cognito sends a request to WAF with the name of the operation in a header, and without names, addresses and passwords.
  # WAF does not see operations that need AWS credentials:
  # https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-waf.html
  dynamic "rule" {
    for_each = local.guards_user_pool ? [join("|", sort(var.token_operations))] : []

    content {
      name     = "token-operations"
      priority = 0

      action {
        allow {}
      }

      statement {
        regex_match_statement {
          regex_string = "^(${rule.value})$"

          field_to_match {
            single_header {
              name = "x-amzn-cognito-operation-name"
            }
          }

          text_transformation {
            priority = 0
            type     = "NONE"
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.metric}TokenOperations"
        sampled_requests_enabled   = true
      }
    }
  }

  # API Gateway and the game servers read the public keys of the user pool without AWS credentials. AWS lists the two
  # addresses among the endpoints whose requests WAF inspects:
  # https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html
  dynamic "rule" {
    for_each = local.guards_user_pool ? [true] : []

    content {
      name     = "public-keys"
      priority = 1

      action {
        allow {}
      }

      statement {
        and_statement {
          statement {
            regex_match_statement {
              regex_string = "^/[^/]+/\\.well-known/(jwks\\.json|openid-configuration)$"

              field_to_match {
                uri_path {}
              }

              text_transformation {
                priority = 0
                type     = "NONE"
              }
            }
          }

          statement {
            not_statement {
              statement {
                regex_match_statement {
                  regex_string = "."

                  field_to_match {
                    single_header {
                      name = "x-amzn-cognito-operation-name"
                    }
                  }

                  text_transformation {
                    priority = 0
                    type     = "NONE"
                  }
                }
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.metric}PublicKeys"
        sampled_requests_enabled   = true
      }
    }
  }

  dynamic "rule" {
    for_each = local.managed_groups

    content {
      name     = rule.value
      priority = rule.key + 1

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          name        = rule.value
          vendor_name = "AWS"

          dynamic "rule_action_override" {
            for_each = local.counted_rules[rule.value]

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.metric}${replace(rule.value, "AWSManagedRules", "")}"
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = local.metric
    sampled_requests_enabled   = true
  }
}

resource "aws_wafv2_web_acl_association" "resource" {
  for_each = var.associations

  resource_arn = each.value
  web_acl_arn  = aws_wafv2_web_acl.main.arn
}

# WAF accepts only log groups whose name begins with `aws-waf-logs-`.
resource "aws_cloudwatch_log_group" "main" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  name              = "aws-waf-logs-${var.name}-${lower(var.scope)}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "main" {
  resource_arn            = aws_wafv2_web_acl.main.arn
  log_destination_configs = [aws_cloudwatch_log_group.main.arn]

  logging_filter {
    default_behavior = "DROP"

    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"

      condition {
        action_condition {
          action = "BLOCK"
        }
      }
    }
  }

  redacted_fields {
    single_header {
      name = "authorization"
    }
  }

  redacted_fields {
    single_header {
      name = "x-load-test"
    }
  }
}

resource "aws_shield_protection" "resource" {
  for_each = var.shield_protections

  name         = "${var.name}-${each.key}"
  resource_arn = each.value
}
