locals {
  subscriptions = merge([
    for topic, definition in var.topics : {
      for subscription in definition.subscriptions : "${topic}-${subscription.queue}" => merge(subscription, { topic = topic })
    }
  ]...)

  # The ARNs of topics and queues are composed from names. A plan therefore shows complete policies, and topics and
  # queues do not refer to each other in a cycle.
  topic_arns = { for topic in keys(var.topics) : topic => "arn:aws:sns:${var.region}:${var.account_id}:${var.name}-${topic}" }
  queue_arns = { for queue in keys(var.queues) : queue => "arn:aws:sqs:${var.region}:${var.account_id}:${var.name}-${queue}" }
}

resource "aws_sns_topic" "topic" {
  for_each = var.topics

  name              = "${var.name}-${each.key}"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sqs_queue" "dead_letter" {
  for_each = var.queues

  name                      = "${var.name}-${each.key}-dlq"
  kms_master_key_id         = var.kms_key_arn
  message_retention_seconds = each.value.dead_letter_retention_seconds

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arns[each.key]]
  })
}

resource "aws_sqs_queue" "queue" {
  for_each = var.queues

  name                       = "${var.name}-${each.key}"
  kms_master_key_id          = var.kms_key_arn
  message_retention_seconds  = each.value.retention_seconds
  receive_wait_time_seconds  = each.value.receive_wait_seconds
  visibility_timeout_seconds = each.value.visibility_timeout_seconds

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter[each.key].arn
    maxReceiveCount     = each.value.max_receive_count
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = var.queues

  dynamic "statement" {
    for_each = { for key, subscription in local.subscriptions : key => subscription if subscription.queue == each.key }

    content {
      sid       = replace(title(statement.key), "-", "")
      actions   = ["sqs:SendMessage"]
      resources = [local.queue_arns[each.key]]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [local.topic_arns[statement.value.topic]]
      }
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [local.queue_arns[each.key]]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "queue" {
  for_each = var.queues

  queue_url = aws_sqs_queue.queue[each.key].url
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

resource "aws_sns_topic_subscription" "queue" {
  for_each = local.subscriptions

  topic_arn            = aws_sns_topic.topic[each.value.topic].arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.queue[each.value.queue].arn
  raw_message_delivery = each.value.raw_message_delivery

  depends_on = [aws_sqs_queue_policy.queue]
}
