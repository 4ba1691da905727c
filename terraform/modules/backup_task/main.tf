# `mjctl backup` starts this task by the action ecs:RunTask. No service runs the task, so no task runs between two
# backups.
resource "aws_cloudwatch_log_group" "task" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and CloudTrail records who started a task.
  name              = "/${var.name}/backup"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "task" {
  family                   = "${var.name}-backup"
  cpu                      = var.task.cpu
  execution_role_arn       = aws_iam_role.execution.arn
  memory                   = var.task.memory
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  task_role_arn            = aws_iam_role.task.arn

  container_definitions = jsonencode([{
    name                   = local.container
    image                  = var.image
    command                = ["program"]
    essential              = true
    readonlyRootFilesystem = true
    # After StopTask, the task removes an unfinished backup or a scratch copy. Fargate allows 120 seconds at most.
    stopTimeout     = 120
    user            = "10001:10001"
    environment     = [for name in sort(keys(var.environment)) : { name = name, value = var.environment[name] }]
    linuxParameters = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.task.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "backup"
        max-buffer-size       = "4m"
        mode                  = "non-blocking"
      }
    }
    mountPoints = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
  }])

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "scratch"
  }
}

resource "aws_security_group" "task" {
  #checkov:skip=CKV2_AWS_5:mjctl starts the task with this security group.
  name        = "${var.name}-backup-task"
  description = "Backup task: nothing comes in"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${var.name}-backup-task" }
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = { aws = { cidr = "0.0.0.0/0", port = 443 }, database = { cidr = var.network.cidr, port = 5432 } }

  security_group_id = aws_security_group.task.id
  description       = each.key == "aws" ? "AWS services" : "Inside the VPC: database"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}
