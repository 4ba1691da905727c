mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  certificate_arn      = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
  domain_name          = "api.arena.example.com"
  jwt                  = { audience = "client", issuer = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf" }
  kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name                 = "arena-prod"
  regional_domain_name = "api-eu-west-1.arena.example.com"
  routes               = { "POST /v1/login" = { authorized = false, target = "auth" } }

  targets = {
    auth = {
      function_name = "arena-prod-auth"
      invoke_arn    = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:arena-prod-auth/invocations"
    }
  }
}

run "requires_a_token_only_on_authorized_routes" {
  command = plan

  variables {
    routes = {
      "GET /v1/profile" = { authorized = true, target = "auth" }
      "POST /v1/login"  = { authorized = false, target = "auth" }
    }
  }

  assert {
    condition     = aws_apigatewayv2_route.route["GET /v1/profile"].authorization_type == "JWT" && aws_apigatewayv2_route.route["POST /v1/login"].authorization_type == "NONE"
    error_message = "Only the routes with `authorized = true` must require a token."
  }

  assert {
    condition     = aws_apigatewayv2_api.http.disable_execute_api_endpoint
    error_message = "Players must not reach the API by the host name that API Gateway generates."
  }
}

run "leads_both_names_to_the_api" {
  command = plan

  assert {
    condition     = toset([for domain in aws_apigatewayv2_domain_name.main : domain.domain_name]) == toset(["api.arena.example.com", "api-eu-west-1.arena.example.com"]) && keys(aws_apigatewayv2_api_mapping.main) == keys(aws_apigatewayv2_domain_name.main)
    error_message = "The shared and the regional domain name must each lead to the API."
  }
}

run "rejects_the_shared_name_as_the_regional_name" {
  command = plan

  variables {
    regional_domain_name = "api.arena.example.com"
  }

  expect_failures = [var.regional_domain_name]
}

run "rejects_a_route_to_an_unknown_target" {
  command = plan

  variables {
    routes = { "GET /v1/profile" = { authorized = true, target = "nowhere" } }
  }

  expect_failures = [var.routes]
}

run "rejects_a_wildcard_origin" {
  command = plan

  variables {
    cors_allow_origins = ["*"]
  }

  expect_failures = [var.cors_allow_origins]
}
