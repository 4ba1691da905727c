data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "function" {
  for_each = var.functions

  statement {
    sid       = "OwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/lambda/${var.name}-${each.key}:*"]
  }

  statement {
    sid       = "OwnDeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = ["arn:aws:sqs:${var.region}:${var.account_id}:${var.name}-${each.key}-function-dlq"]
  }

  statement {
    sid       = "OwnKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }

  dynamic "statement" {
    for_each = each.value.queue == null ? [] : [each.value.queue.arn]

    content {
      sid       = "OwnQueue"
      actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      resources = [statement.value]
    }
  }

  # Waiver for the resource `*`: the ARN of a network interface is unknown before Lambda has created the interface.
  dynamic "statement" {
    for_each = each.value.vpc ? [1] : []

    content {
      sid       = "WaivedNetworkInterfaces"
      actions   = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = each.value.statements

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.condition == null ? [] : [statement.value.condition]

        content {
          test     = condition.value.test
          values   = condition.value.values
          variable = condition.value.variable
        }
      }
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = var.functions

  name               = "${var.name}-${var.region}-${each.key}-fn"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "function" {
  for_each = var.functions

  name   = "${var.name}-${var.region}-${each.key}-fn"
  policy = data.aws_iam_policy_document.function[each.key].json
}

resource "aws_iam_role_policy_attachment" "function" {
  for_each = var.functions

  role       = aws_iam_role.function[each.key].name
  policy_arn = aws_iam_policy.function[each.key].arn
}

resource "aws_security_group" "function" {
  for_each = local.in_vpc

  name        = "${var.name}-${each.key}-fn"
  description = "Function ${each.key}: nothing comes in"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${var.name}-${each.key}-fn" }
}

resource "aws_vpc_security_group_egress_rule" "function" {
  for_each = local.egress

  security_group_id = aws_security_group.function[each.value.function].id
  description       = each.value.description
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}
