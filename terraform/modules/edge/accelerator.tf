locals {
  accelerated = var.routing == "accelerator"
}

resource "aws_globalaccelerator_accelerator" "play" {
  count = local.accelerated ? 1 : 0

  name            = "${var.name}-play"
  enabled         = true
  ip_address_type = "IPV4"

  attributes {
    flow_logs_enabled   = true
    flow_logs_s3_bucket = module.accelerator_logs[0].id
    flow_logs_s3_prefix = "accelerator"
  }
}

module "accelerator_logs" {
  source = "../bucket"
  count  = local.accelerated ? 1 : 0

  bucket        = "${var.bucket}-flow"
  expire_days   = 90
  force_destroy = var.force_destroy

  statements = {
    Acl   = { actions = ["s3:GetBucketAcl"], path = "", service = "delivery.logs.amazonaws.com" }
    Write = { actions = ["s3:PutObject"], service = "delivery.logs.amazonaws.com" }
  }
}

resource "aws_globalaccelerator_listener" "play" {
  count = local.accelerated ? 1 : 0

  accelerator_arn = aws_globalaccelerator_accelerator.play[0].arn
  client_affinity = "SOURCE_IP"
  protocol        = "TCP"

  port_range {
    from_port = 443
    to_port   = 443
  }
}

resource "aws_globalaccelerator_endpoint_group" "region" {
  for_each = local.accelerated ? var.regions : {}

  listener_arn                  = aws_globalaccelerator_listener.play[0].arn
  endpoint_group_region         = each.key
  health_check_interval_seconds = 10
  health_check_path             = "/servingz"
  health_check_port             = 443
  health_check_protocol         = "HTTPS"
  threshold_count               = 2

  endpoint_configuration {
    client_ip_preservation_enabled = true
    endpoint_id                    = each.value.load_balancer.arn
    weight                         = 128
  }
}

resource "aws_route53_record" "play_accelerator" {
  count = local.accelerated ? 1 : 0

  zone_id = var.zone_id
  name    = "play.${var.domain}"
  type    = "A"

  alias {
    evaluate_target_health = true
    name                   = aws_globalaccelerator_accelerator.play[0].dns_name
    zone_id                = aws_globalaccelerator_accelerator.play[0].hosted_zone_id
  }
}
