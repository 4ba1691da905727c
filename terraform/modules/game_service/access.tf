data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    # The condition on `aws:SourceAccount` prevents the confused deputy problem: ECS cannot use the role for a task of
    # another account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  # Waiver for the resource `*`: `ecr:GetAuthorizationToken` accepts no ARN.
  statement {
    sid       = "WaivedRegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:aws:ecr:${var.region}:${var.account_id}:repository/${var.repository_name}"]
  }

  statement {
    sid       = "OwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.name}/game:*"]
  }
}

data "aws_iam_policy_document" "task" {
  # A game server with matches protects its own ECS task, so that a scale-in does not stop the task.
  statement {
    sid       = "ProtectOwnTask"
    actions   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
    resources = ["arn:aws:ecs:${var.region}:${var.account_id}:task/${var.name}/*"]
  }

  # A game server learns from ECS that its task stops, and which tasks belong to the newest deployment.
  statement {
    sid     = "SeeOwnService"
    actions = ["ecs:DescribeServices", "ecs:DescribeTasks"]
    resources = [
      "arn:aws:ecs:${var.region}:${var.account_id}:service/${var.name}/${var.name}-game",
      "arn:aws:ecs:${var.region}:${var.account_id}:task/${var.name}/*",
    ]
  }

  dynamic "statement" {
    for_each = var.statements

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.conditions

        content {
          test     = condition.value.test
          values   = condition.value.values
          variable = condition.value.variable
        }
      }
    }
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-${var.region}-game-exec"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "execution" {
  name   = "${var.name}-${var.region}-game-exec"
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = aws_iam_policy.execution.arn
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-${var.region}-game-task"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "task" {
  name   = "${var.name}-${var.region}-game-task"
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_role_policy_attachment" "task" {
  role       = aws_iam_role.task.name
  policy_arn = aws_iam_policy.task.arn
}

resource "aws_security_group" "task" {
  name        = "${var.name}-game-task"
  description = "Game servers, from the load balancer and from each other"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${var.name}-game-task" }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = { ops = var.task.ops_port, play = var.task.port }

  security_group_id            = aws_security_group.task.id
  description                  = "Load balancer, ${each.key}"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

# Game servers connect to each other: a server that is not the owner of a player's match forwards frames between the
# player and the owner.
resource "aws_vpc_security_group_ingress_rule" "peers" {
  security_group_id            = aws_security_group.task.id
  description                  = "Other game servers"
  referenced_security_group_id = aws_security_group.task.id
  ip_protocol                  = "tcp"
  from_port                    = var.task.peer_port
  to_port                      = var.task.peer_port
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.task.id
  description       = "AWS services"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each = { cache = 6379, peers = var.task.peer_port }

  security_group_id = aws_security_group.task.id
  description       = "Inside the VPC: ${each.key}"
  cidr_ipv4         = var.network.cidr
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}
