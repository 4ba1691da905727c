locals {
  load_balancer = { LoadBalancer = var.game.load_balancer }
  target_group  = merge(local.load_balancer, { TargetGroup = var.game.target_group })
  service       = { ClusterName = var.game.cluster_name, ServiceName = var.game.service_name }

  # Alarms by name. `missing` says how CloudWatch treats missing data of a metric. An alarm has `missing = "breaching"`
  # if missing data indicates a fault.
  fixed_alarms = {
    api-5xx               = { namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = var.api_id }, statistic = "Sum", threshold = 10 }
    backup-failed         = { namespace = "AWS/Backup", metric = "NumberOfBackupJobsFailed", dimensions = { BackupVaultName = var.backup_vault }, statistic = "Sum", period = 3600, evaluations = 1 }
    backup-too-old        = { namespace = "AWS/Backup", metric = "NumberOfBackupJobsCompleted", dimensions = { BackupVaultName = var.backup_vault }, statistic = "Sum", period = 86400, evaluations = 1, comparison = "LessThanThreshold", threshold = 1, missing = "breaching" }
    copy-failed           = { namespace = "AWS/Backup", metric = "NumberOfCopyJobsFailed", dimensions = { BackupVaultName = var.backup_vault }, statistic = "Sum", period = 3600, evaluations = 1 }
    database-cpu          = { namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = { DBClusterIdentifier = var.database.cluster_id }, threshold = 80, evaluations = 5 }
    database-replica-lag  = { namespace = "AWS/RDS", metric = "AuroraReplicaLagMaximum", dimensions = { DBClusterIdentifier = var.database.cluster_id }, statistic = "Maximum", threshold = 1000, evaluations = 5 }
    event-ids-reused      = { namespace = "${var.name}/events", metric = "ReusedEventIds", dimensions = {}, statistic = "Sum", evaluations = 1 }
    load-balancer-5xx     = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.load_balancer, statistic = "Sum", threshold = 10 }
    no-healthy-server     = { namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.target_group, statistic = "Maximum", comparison = "LessThanThreshold", threshold = 1, evaluations = 2, missing = "breaching" }
    requests-blocked      = { namespace = "AWS/WAFV2", metric = "BlockedRequests", dimensions = { Region = var.region, Rule = "ALL", WebACL = var.web_acl_metric }, statistic = "Sum", threshold = 1000, evaluations = 5 }
    server-5xx            = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.load_balancer, statistic = "Sum", threshold = 10 }
    servers-below-minimum = { namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = local.service, statistic = "Minimum", comparison = "LessThanThreshold", threshold = var.game.minimum_tasks, evaluations = 5, missing = "breaching" }
    servers-cpu           = { namespace = "AWS/ECS", metric = "CPUUtilization", dimensions = local.service, threshold = 85, evaluations = 5 }
    servers-unhealthy     = { namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = local.target_group, statistic = "Maximum", evaluations = 3 }
  }

  cache_alarms = merge([for number, id in var.cache_members : {
    "cache-${number}-cpu"       = { namespace = "AWS/ElastiCache", metric = "EngineCPUUtilization", dimensions = { CacheClusterId = id }, threshold = 80, evaluations = 5 }
    "cache-${number}-evictions" = { namespace = "AWS/ElastiCache", metric = "Evictions", dimensions = { CacheClusterId = id }, statistic = "Sum" }
    "cache-${number}-lag"       = { namespace = "AWS/ElastiCache", metric = "ReplicationLag", dimensions = { CacheClusterId = id }, statistic = "Maximum", threshold = 5, evaluations = 5 }
    "cache-${number}-memory"    = { namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = id }, threshold = 80, evaluations = 5 }
  }]...)

  # The state store has no alarm for evictions, because its policy `noeviction` evicts no key.
  state_alarms = merge([for number, id in var.state_members : {
    "state-${number}-cpu"    = { namespace = "AWS/ElastiCache", metric = "EngineCPUUtilization", dimensions = { CacheClusterId = id }, threshold = 80, evaluations = 5 }
    "state-${number}-lag"    = { namespace = "AWS/ElastiCache", metric = "ReplicationLag", dimensions = { CacheClusterId = id }, statistic = "Maximum", threshold = 5, evaluations = 5 }
    "state-${number}-memory" = { namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = id }, threshold = 80, evaluations = 5 }
  }]...)

  function_alarms = merge([for name, function in var.functions : {
    "function-${name}-errors"    = { namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = function }, statistic = "Sum", threshold = 5 }
    "function-${name}-throttles" = { namespace = "AWS/Lambda", metric = "Throttles", dimensions = { FunctionName = function }, statistic = "Sum" }
  }]...)

  dead_letter_alarms = { for name, queue in var.dead_letter_queues : "dead-letters-${name}" => {
    namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = queue }, statistic = "Maximum", evaluations = 1
  } }

  # The threshold of 300 seconds is the age of a message at which the health check `queue/<key>` of mjctl fails. SQS
  # reports no age for an empty queue.
  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
  queue_alarms = { for key, queue in var.queues : "queue-${key}-age" => {
    namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = queue }, statistic = "Maximum", threshold = 300
  } }

  # DynamoDB publishes the metric ThrottledRequests only by table and operation, but counts throttled reads and writes by
  # table.
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
  table_alarms = merge([for key, table in var.tables : {
    "table-${key}-read-throttles"  = { namespace = "AWS/DynamoDB", metric = "ReadThrottleEvents", dimensions = { TableName = table }, statistic = "Sum" }
    "table-${key}-write-throttles" = { namespace = "AWS/DynamoDB", metric = "WriteThrottleEvents", dimensions = { TableName = table }, statistic = "Sum" }
  }]...)

  alarms = merge(local.fixed_alarms, local.cache_alarms, local.state_alarms, local.function_alarms, local.dead_letter_alarms, local.queue_alarms, local.table_alarms)
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Publishers"
    actions   = ["sns:Publish"]
    resources = ["arn:aws:sns:${var.region}:${var.account_id}:${var.name}-alarms"]

    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com", "cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.notify_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

# The function `persistence` logs {"event": "event_id_reused"} for an event whose id was stored with another content.
# Lambda does not change a line of a log that is JSON already, and the metric has no dimensions.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_MetricTransformation.html
resource "aws_cloudwatch_log_metric_filter" "event_ids_reused" {
  name           = "${var.name}-event-ids-reused"
  log_group_name = var.event_log_group
  pattern        = "{ $.event = \"event_id_reused\" }"

  metric_transformation {
    name      = "ReusedEventIds"
    namespace = "${var.name}/events"
    unit      = "Count"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "Runbook: docs/runbooks.md, ${each.key}"
  comparison_operator = try(each.value.comparison, "GreaterThanThreshold")
  dimensions          = each.value.dimensions
  evaluation_periods  = try(each.value.evaluations, 2)
  metric_name         = each.value.metric
  namespace           = each.value.namespace
  period              = try(each.value.period, 60)
  statistic           = try(each.value.statistic, "Average")
  threshold           = try(each.value.threshold, 0)
  treat_missing_data  = try(each.value.missing, "notBreaching")

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  # Values of dimensions are unknown before the first deploy. The rules for production check the names of the dimensions
  # by this tag.
  tags = { Dimensions = join(" ", sort(keys(each.value.dimensions))) }
}

# AWS does not document all dimensions of the metric AuroraGlobalDBReplicationLag. The query reads the metric with any
# dimensions besides the cluster. While the cluster writes, the metric has no data, and the alarm keeps its state.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-alarms.html
resource "aws_cloudwatch_metric_alarm" "region_lag" {
  count = var.database.secondary ? 1 : 0

  alarm_name          = "${var.name}-database-region-lag"
  alarm_description   = "Runbook: docs/runbooks.md, database-region-lag"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 5
  threshold           = 5000
  treat_missing_data  = "ignore"

  metric_query {
    id          = "lag"
    expression  = "SELECT MAX(AuroraGlobalDBReplicationLag) FROM \"AWS/RDS\" WHERE DBClusterIdentifier = '${var.database.cluster_id}'"
    label       = "lag behind the writer"
    period      = 60
    return_data = true
  }

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]
}
