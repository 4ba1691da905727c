locals {
  by_latency = { for name, region in var.regions : name => region if var.routing == "latency" }
}

resource "aws_route53_record" "web" {
  for_each = toset(["A", "AAAA"])

  zone_id = var.zone_id
  name    = var.domain
  type    = each.key

  alias {
    # Route 53 cannot evaluate the health of a CloudFront distribution. CloudFront itself routes around unhealthy edge
    # locations.
    evaluate_target_health = false
    name                   = aws_cloudfront_distribution.web.domain_name
    zone_id                = aws_cloudfront_distribution.web.hosted_zone_id
  }
}

# DNS sends no new players to a region without a healthy game server, because the region's API could not assign a server
# to a player.
resource "aws_route53_health_check" "region" {
  for_each = var.regions

  cloudwatch_alarm_name           = each.value.health_alarm
  cloudwatch_alarm_region         = each.key
  insufficient_data_health_status = "LastKnownStatus"
  type                            = "CLOUDWATCH_METRIC"

  tags = { Name = "${var.name}-${each.key}" }

  lifecycle {
    # `mjctl failover` sets `disabled` and `invert_healthcheck` to exclude a region, and `mjctl failover --restore`
    # resets both attributes. A deploy must not change `disabled` or `invert_healthcheck`.
    ignore_changes = [disabled, invert_healthcheck]
  }
}

resource "aws_route53_record" "api" {
  #checkov:skip=CKV2_AWS_23:The alias target is a regional API that another stack creates.
  for_each = var.regions

  zone_id         = var.zone_id
  name            = "api.${var.domain}"
  type            = "A"
  health_check_id = aws_route53_health_check.region[each.key].id
  set_identifier  = each.key

  alias {
    evaluate_target_health = true
    name                   = each.value.api.name
    zone_id                = each.value.api.zone_id
  }

  latency_routing_policy {
    region = each.key
  }
}

resource "aws_route53_record" "play_latency" {
  #checkov:skip=CKV2_AWS_23:The alias target is a load balancer that another stack creates.
  for_each = local.by_latency

  zone_id         = var.zone_id
  name            = "play.${var.domain}"
  type            = "A"
  health_check_id = aws_route53_health_check.region[each.key].id
  set_identifier  = each.key

  alias {
    evaluate_target_health = true
    name                   = each.value.load_balancer.dns_name
    zone_id                = each.value.load_balancer.zone_id
  }

  latency_routing_policy {
    region = each.key
  }
}
