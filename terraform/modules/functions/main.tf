locals {
  in_vpc    = { for name, function in var.functions : name => function if function.vpc }
  consumers = { for name, function in var.functions : name => function if function.queue != null }

  destinations = {
    aws      = { cidr = "0.0.0.0/0", description = "AWS services", port = 443 }
    cache    = { cidr = var.network.cidr, description = "Cache", port = 6379 }
    database = { cidr = var.network.cidr, description = "Database", port = 5432 }
  }
  egress = merge([
    for name in keys(local.in_vpc) : { for to, destination in local.destinations : "${name}-${to}" => merge(destination, { function = name }) }
  ]...)
}

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  for_each = var.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# The dead-letter queue receives the events of asynchronous invocations that a function could not process.
resource "aws_sqs_queue" "dead_letter" {
  for_each = var.functions

  name                      = "${var.name}-${each.key}-function-dlq"
  kms_master_key_id         = var.kms_key_arn
  message_retention_seconds = 1209600
}

resource "aws_lambda_function" "function" {
  #checkov:skip=CKV_AWS_272:Terraform refers to the archive of the functions by its SHA-256, so a signature of the code would add nothing.

  #checkov:skip=CKV_AWS_50:X-Ray traces cost money for each request, and Lambda's metrics already show latency and errors.
  for_each = var.functions

  function_name                  = "${var.name}-${each.key}"
  architectures                  = [var.package.architecture]
  filename                       = var.package.path
  handler                        = each.value.handler
  kms_key_arn                    = var.kms_key_arn
  memory_size                    = each.value.memory_mb
  reserved_concurrent_executions = each.value.reserved_concurrency
  role                           = aws_iam_role.function[each.key].arn
  runtime                        = var.runtime
  source_code_hash               = var.package.sha256
  timeout                        = each.value.timeout_seconds

  dead_letter_config {
    target_arn = aws_sqs_queue.dead_letter[each.key].arn
  }

  environment {
    variables = each.value.environment
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  dynamic "vpc_config" {
    for_each = each.value.vpc ? [1] : []

    content {
      security_group_ids = [aws_security_group.function[each.key].id]
      subnet_ids         = var.network.subnet_ids
    }
  }

  depends_on = [aws_iam_role_policy_attachment.function]
}

resource "aws_lambda_event_source_mapping" "queue" {
  for_each = local.consumers

  event_source_arn        = each.value.queue.arn
  function_name           = aws_lambda_function.function[each.key].arn
  batch_size              = each.value.queue.batch_size
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = each.value.queue.max_concurrency
  }
}
