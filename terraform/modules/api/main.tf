locals {
  domain_names = { regional = var.regional_domain_name, shared = var.domain_name }
}

resource "aws_apigatewayv2_api" "http" {
  name                         = "${var.name}-api"
  description                  = "Log-in, profile, matches and leaderboard"
  disable_execute_api_endpoint = true
  protocol_type                = "HTTP"

  dynamic "cors_configuration" {
    for_each = length(var.cors_allow_origins) > 0 ? [1] : []

    content {
      allow_headers = ["authorization", "content-type"]
      allow_methods = ["GET", "POST", "PUT"]
      allow_origins = var.cors_allow_origins
      max_age       = 3600
    }
  }
}

resource "aws_apigatewayv2_authorizer" "player" {
  api_id           = aws_apigatewayv2_api.http.id
  name             = "player"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    audience = [var.jwt.audience]
    issuer   = var.jwt.issuer
  }
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = var.targets

  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = each.value.invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 10000
}

resource "aws_apigatewayv2_route" "route" {
  #checkov:skip=CKV_AWS_309:The routes for sign-up, log-in, renewal of tokens and the leaderboard must answer players without an access token.
  for_each = var.routes

  api_id             = aws_apigatewayv2_api.http.id
  route_key          = each.key
  authorization_type = each.value.authorized ? "JWT" : "NONE"
  authorizer_id      = each.value.authorized ? aws_apigatewayv2_authorizer.player.id : null
  target             = "integrations/${aws_apigatewayv2_integration.function[each.value.target].id}"
}

resource "aws_lambda_permission" "gateway" {
  for_each = var.targets

  statement_id  = "HttpApi"
  action        = "lambda:InvokeFunction"
  function_name = each.value.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.http.execution_arn}/*/*"
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  name              = "/${var.name}/api-access"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.http.id
  name        = "$default"
  auto_deploy = true

  # The access log contains route, status, latency and error of each request, but no address and no token of a player.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format = jsonencode({
      error        = "$context.error.message"
      latency_ms   = "$context.responseLatency"
      request_id   = "$context.requestId"
      requested_at = "$context.requestTimeEpoch"
      route        = "$context.routeKey"
      status       = "$context.status"
    })
  }

  default_route_settings {
    detailed_metrics_enabled = true
    throttling_burst_limit   = var.throttle.burst
    throttling_rate_limit    = var.throttle.rate_limit_per_second
  }
}

# By the shared domain name, DNS leads every client to the region nearest to the client. Operators test one certain region
# by the name that only this region has. DNS answers the regional name also while a failover excludes the region.
resource "aws_apigatewayv2_domain_name" "main" {
  for_each = local.domain_names

  domain_name = each.value

  domain_name_configuration {
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "main" {
  for_each = local.domain_names

  api_id      = aws_apigatewayv2_api.http.id
  domain_name = aws_apigatewayv2_domain_name.main[each.key].id
  stage       = aws_apigatewayv2_stage.default.id
}

# Release 0.1.0 had only the shared domain name.
moved {
  from = aws_apigatewayv2_domain_name.public
  to   = aws_apigatewayv2_domain_name.main["shared"]
}

moved {
  from = aws_apigatewayv2_api_mapping.public
  to   = aws_apigatewayv2_api_mapping.main["shared"]
}
