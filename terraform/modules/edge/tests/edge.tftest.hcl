mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

mock_provider "aws" {
  alias = "us_east_1"

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id      = "123456789012"
  bucket          = "arena-prod-web-123456789012"
  bucket_region   = "us-east-1"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
  domain          = "arena.example.com"
  name            = "arena-prod"
  web_acl_arn     = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/arena-prod-cloudfront/01234567-89ab-cdef-0123-456789abcdef"
  zone_id         = "Z0123456789ABCDEFGHIJ"

  regions = {
    us-east-1 = {
      api          = { name = "d-abcdef.execute-api.us-east-1.amazonaws.com", zone_id = "Z1UJRXOUMOOFQ8" }
      health_alarm = "arena-prod-no-healthy-server"
      load_balancer = {
        arn      = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/arena-prod-game/0123456789abcdef"
        dns_name = "arena-prod-game-1.us-east-1.elb.amazonaws.com"
        zone_id  = "Z35SXDOTRQ7X7K"
      }
    }
  }
}

run "routes_players_through_the_accelerator" {
  command   = plan
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  assert {
    condition     = length(aws_globalaccelerator_endpoint_group.region) == 1 && length(aws_route53_record.play_latency) == 0
    error_message = "With routing `accelerator`, the accelerator must route players, without latency records."
  }
}

run "limits_the_page_to_the_hosts_of_its_game" {
  command   = plan
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  assert {
    condition = strcontains(
      aws_cloudfront_response_headers_policy.web.security_headers_config[0].content_security_policy[0].content_security_policy,
      "connect-src 'self' wss://play.arena.example.com wss://play-us-east-1.arena.example.com;",
    )
    error_message = "The page's content security policy must contain the game servers of every region, and no other host."
  }
}

run "routes_players_by_latency_records" {
  command   = plan
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  variables {
    routing = "latency"
  }

  assert {
    condition     = length(aws_globalaccelerator_accelerator.play) == 0 && keys(aws_route53_record.play_latency) == ["us-east-1"]
    error_message = "With routing `latency`, latency records must route players, without an accelerator."
  }
}

run "rejects_an_edge_without_regions" {
  command   = plan
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  variables {
    regions = {}
  }

  expect_failures = [var.regions]
}

run "writes_the_pass_into_requests_to_the_api_only" {
  command   = plan
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  assert {
    condition = alltrue([
      for behavior in aws_cloudfront_distribution.web.ordered_cache_behavior :
      behavior.target_origin_id != "api" || [for function in behavior.function_association : function.event_type] == ["viewer-request"]
    ])
    error_message = "Each request to the API must get the pass of the distribution."
  }

  assert {
    condition     = length(aws_cloudfront_distribution.web.default_cache_behavior[0].function_association) == 0
    error_message = "Requests for the web client must not get the pass, because a bucket needs none."
  }

  assert {
    condition     = aws_cloudfront_function.pass.publish && length(aws_cloudfront_function.pass.code) < 10240
    error_message = "CloudFront runs only published functions of at most 10 KB."
  }
}
