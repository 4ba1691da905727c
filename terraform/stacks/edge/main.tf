locals {
  account_id = var.foundation.account_id
  is_sandbox = var.foundation.target == "sandbox"
  name       = "${var.foundation.project}-${var.foundation.environment}"
  tags       = { Environment = var.foundation.environment, Project = var.foundation.project, Stack = "edge" }

  # Terraform must know the keys of a `for_each` at plan. The ARNs of the protected resources are values, not keys, of
  # the map, because Terraform does not know the ARNs at plan.
  protected = merge(
    { distribution = module.edge.distribution.arn },
    var.routing == "accelerator" ? { accelerator = module.edge.accelerator_arn } : {},
    { for region, parts in var.regions : "load-balancer-${region}" => parts.load_balancer.arn },
  )
}

provider "aws" {
  region              = var.foundation.primary_region
  allowed_account_ids = [local.account_id]
  s3_use_path_style   = local.is_sandbox

  default_tags {
    tags = local.tags
  }
}

# The firewall, the logs and the metrics of CloudFront exist only in us-east-1.
provider "aws" {
  alias = "us_east_1"

  region              = "us-east-1"
  allowed_account_ids = [local.account_id]
  s3_use_path_style   = local.is_sandbox

  default_tags {
    tags = local.tags
  }
}

module "keys" {
  source    = "../../modules/keys"
  providers = { aws = aws.us_east_1 }

  account_id           = local.account_id
  deletion_window_days = var.protect ? 30 : 7
  name                 = local.name
  region               = "us-east-1"

  keys = { edge = { description = "Logs and alarms of the edge", services = ["cloudwatch", "logs", "sns"] } }
}

module "firewall" {
  source    = "../../modules/firewall"
  providers = { aws = aws.us_east_1 }

  kms_key_arn        = module.keys.arns["edge"]
  log_retention_days = var.log_retention_days
  name               = local.name
  native_clients     = var.firewall.native_clients
  rate_limit         = var.firewall.rate_limit
  region             = "us-east-1"
  scope              = "CLOUDFRONT"
  shield_protections = var.shield_advanced ? local.protected : {}
}

module "edge" {
  source    = "../../modules/edge"
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  account_id      = local.account_id
  bucket          = "${local.name}-web-${local.account_id}"
  bucket_region   = var.foundation.primary_region
  certificate_arn = var.foundation.dns.certificate_arn
  domain          = var.foundation.dns.domain
  force_destroy   = !var.protect
  name            = local.name
  price_class     = var.price_class
  regions         = var.regions
  routing         = var.routing
  web_acl_arn     = module.firewall.arn
  zone_id         = var.foundation.dns.zone_id
}

resource "aws_sns_topic" "alarms" {
  provider = aws.us_east_1

  name              = "${local.name}-edge-alarms"
  kms_master_key_id = module.keys.arns["edge"]
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Publishers"
    actions   = ["sns:Publish"]
    resources = ["arn:aws:sns:us-east-1:${local.account_id}:${local.name}-edge-alarms"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

# If an alarm's topic does not allow CloudWatch to publish, the alarm notifies no operator:
# https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
resource "aws_sns_topic_policy" "alarms" {
  provider = aws.us_east_1

  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  provider = aws.us_east_1
  for_each = var.notify_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

locals {
  distribution_dimensions = { DistributionId = module.edge.distribution.id, Region = "Global" }
}

resource "aws_cloudwatch_metric_alarm" "distribution_5xx" {
  provider = aws.us_east_1

  alarm_name          = "${local.name}-distribution-5xx"
  alarm_description   = "Runbook: docs/runbooks.md, distribution-5xx"
  comparison_operator = "GreaterThanThreshold"
  dimensions          = local.distribution_dimensions
  evaluation_periods  = 3
  metric_name         = "5xxErrorRate"
  namespace           = "AWS/CloudFront"
  period              = 60
  statistic           = "Average"
  threshold           = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  # The id of the distribution is unknown before the first deploy. The rules for production check the names of the
  # dimensions by this tag.
  tags = { Dimensions = join(" ", sort(keys(local.distribution_dimensions))) }
}
