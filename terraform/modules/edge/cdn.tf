locals {
  # Ids of CloudFront's managed policies for caching and for requests to an origin, as AWS documents the ids.
  caching_disabled       = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
  caching_optimized      = "658327ea-f89d-4fab-a63d-7e88639e58f6"
  all_viewer_except_host = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
  # The web client may open WebSocket connections to the shared host `play`, and to the host `play-<region>` of each
  # region, to which game servers redirect players.
  play_origins = [
    for host in concat(["play"], [for region in sort(keys(var.regions)) : "play-${region}"]) : "wss://${host}.${var.domain}"
  ]
  distribution_arn_for_logs = "arn:aws:logs:us-east-1:${var.account_id}:delivery-source:${var.name}-web"
}

module "web" {
  source = "../bucket"

  bucket        = var.bucket
  force_destroy = var.force_destroy

  statements = {
    Distribution = {
      actions   = ["s3:GetObject"]
      condition = { test = "StringEquals", variable = "aws:SourceArn", values = [aws_cloudfront_distribution.web.arn] }
      service   = "cloudfront.amazonaws.com"
    }
  }
}

resource "aws_cloudfront_origin_access_control" "web" {
  name                              = "${var.name}-web"
  description                       = "The distribution alone reads the bucket"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

# CloudFront sends the web client with the headers of gameserver/http/web_files.py, and with HSTS.
resource "aws_cloudfront_response_headers_policy" "web" {
  #checkov:skip=CKV_AWS_259:HSTS is on without preloading, because preloading binds the whole domain of a studio for years.
  name    = "${var.name}-web"
  comment = "The page talks to its own API and to the game servers, to nobody else"

  custom_headers_config {
    items {
      header   = "Cross-Origin-Opener-Policy"
      override = true
      value    = "same-origin"
    }

    items {
      header   = "Cross-Origin-Resource-Policy"
      override = true
      value    = "same-origin"
    }

    items {
      header   = "Permissions-Policy"
      override = true
      value    = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    }
  }

  remove_headers_config {
    items {
      header = "Server"
    }
  }

  security_headers_config {
    content_security_policy {
      content_security_policy = join("; ", [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "manifest-src 'self'",
        "connect-src 'self' ${join(" ", local.play_origins)}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
      ])
      override = true
    }

    content_type_options {
      override = true
    }

    frame_options {
      frame_option = "DENY"
      override     = true
    }

    referrer_policy {
      override        = true
      referrer_policy = "no-referrer"
    }

    strict_transport_security {
      access_control_max_age_sec = 63072000
      include_subdomains         = true
      override                   = true
    }
  }
}

# `mjctl deploy` stores the distribution's pass in the key value store, so that the pass is in no Terraform state.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions.html
resource "aws_cloudfront_key_value_store" "pass" {
  name    = "${var.name}-pass"
  comment = "The pass by which the distribution proves itself to the API"
}

resource "aws_cloudfront_function" "pass" {
  name                         = "${var.name}-pass"
  code                         = file("${path.module}/distribution_pass.js")
  comment                      = "Writes the pass of the distribution into requests to the API"
  key_value_store_associations = [aws_cloudfront_key_value_store.pass.arn]
  publish                      = true
  runtime                      = "cloudfront-js-2.0"
}

resource "aws_cloudfront_distribution" "web" {
  #checkov:skip=CKV2_AWS_32:The default cache behavior has a policy for response headers, and the API sends its own headers.

  #checkov:skip=CKV2_AWS_47:The module firewall has AWSManagedRulesKnownBadInputsRuleSet, which checkov does not see.

  #checkov:skip=CKV_AWS_310:S3 keeps the web client in several zones, and the DNS records of the API have health checks.

  #checkov:skip=CKV_AWS_374:Players from every country may connect.

  #checkov:skip=CKV_AWS_86:The resource aws_cloudwatch_log_delivery delivers the access logs to S3, without a bucket with ACLs.
  aliases             = [var.domain]
  comment             = "${var.name}: web client and API"
  default_root_object = "index.html"
  enabled             = true
  http_version        = "http2and3"
  is_ipv6_enabled     = true
  price_class         = var.price_class
  web_acl_id          = var.web_acl_arn

  origin {
    # The bucket's host name is composed from variables, because a reference from the distribution to the bucket would
    # be a cycle: the bucket's policy refers to the distribution.
    domain_name              = "${var.bucket}.s3.${var.bucket_region}.amazonaws.com"
    origin_access_control_id = aws_cloudfront_origin_access_control.web.id
    origin_id                = "web"
  }

  origin {
    domain_name = "api.${var.domain}"
    origin_id   = "api"

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  default_cache_behavior {
    allowed_methods            = ["GET", "HEAD"]
    cache_policy_id            = local.caching_optimized
    cached_methods             = ["GET", "HEAD"]
    compress                   = true
    response_headers_policy_id = aws_cloudfront_response_headers_policy.web.id
    target_origin_id           = "web"
    viewer_protocol_policy     = "redirect-to-https"
  }

  # CloudFront serves the API under the web client's host name, so the web client needs no cross-origin requests, and
  # one firewall protects the web client and the API.
  ordered_cache_behavior {
    allowed_methods          = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cache_policy_id          = local.caching_disabled
    cached_methods           = ["GET", "HEAD"]
    compress                 = true
    origin_request_policy_id = local.all_viewer_except_host
    path_pattern             = "/v1/*"
    target_origin_id         = "api"
    viewer_protocol_policy   = "https-only"

    # The origin request policy forwards all headers except `Host`, also those that a function adds to the request.
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/example-function-add-true-client-ip-header.html
    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.pass.arn
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = var.certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }
}

module "logs" {
  source = "../bucket"

  bucket        = "${var.bucket}-logs"
  expire_days   = 90
  force_destroy = var.force_destroy

  statements = {
    Delivery = {
      actions   = ["s3:PutObject"]
      condition = { test = "ArnLike", variable = "aws:SourceArn", values = [local.distribution_arn_for_logs] }
      service   = "delivery.logs.amazonaws.com"
    }
  }
}

resource "aws_cloudwatch_log_delivery_source" "web" {
  provider = aws.us_east_1

  name         = "${var.name}-web"
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.web.arn
}

resource "aws_cloudwatch_log_delivery_destination" "web" {
  provider = aws.us_east_1

  name          = "${var.name}-web"
  output_format = "json"

  delivery_destination_configuration {
    destination_resource_arn = module.logs.arn
  }
}

resource "aws_cloudwatch_log_delivery" "web" {
  provider = aws.us_east_1

  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.web.arn
  delivery_source_name     = aws_cloudwatch_log_delivery_source.web.name
}
