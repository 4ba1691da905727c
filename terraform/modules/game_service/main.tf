locals {
  container = "game"
  variables = merge(var.environment, {
    GAMESERVER_HOST      = "0.0.0.0"
    GAMESERVER_OPS_PORT  = tostring(var.task.ops_port)
    GAMESERVER_PEER_PORT = tostring(var.task.peer_port)
    GAMESERVER_PORT      = tostring(var.task.port)
    # Every listener of a game server then accepts only TLS, with a certificate that the server makes at its start.
    GAMESERVER_TLS_OWN_CERTIFICATE = "true"
  })
}

resource "aws_ecs_cluster" "main" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "game" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  name              = "/${var.name}/game"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "game" {
  family                   = "${var.name}-game"
  cpu                      = var.task.cpu
  execution_role_arn       = aws_iam_role.execution.arn
  memory                   = var.task.memory
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  task_role_arn            = aws_iam_role.task.arn

  container_definitions = jsonencode([{
    name                   = local.container
    image                  = var.image
    command                = ["serve"]
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = var.task.drain_seconds
    user                   = "10001:10001"
    environment            = [for name in sort(keys(local.variables)) : { name = name, value = local.variables[name] }]
    healthCheck = {
      command     = ["CMD", "python", "-c", "import os, ssl, urllib.request as r; r.urlopen('http' + 's' * (os.environ.get('GAMESERVER_TLS_OWN_CERTIFICATE') == 'true') + '://127.0.0.1:${var.task.ops_port}/healthz', timeout=2, context=ssl._create_unverified_context())"]
      interval    = 10
      retries     = 3
      startPeriod = 30
      timeout     = 5
    }
    linuxParameters = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.game.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "game"
        # With the mode `non-blocking`, ECS drops log lines that CloudWatch does not accept fast enough. A match must
        # not wait for the log.
        max-buffer-size = "4m"
        mode            = "non-blocking"
      }
    }
    mountPoints = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    portMappings = [
      { containerPort = var.task.port, hostPort = var.task.port, protocol = "tcp" },
      { containerPort = var.task.ops_port, hostPort = var.task.ops_port, protocol = "tcp" },
      { containerPort = var.task.peer_port, hostPort = var.task.peer_port, protocol = "tcp" },
    ]
  }])

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "scratch"
  }
}

resource "aws_ecs_service" "game" {
  name                               = "${var.name}-game"
  availability_zone_rebalancing      = "ENABLED"
  cluster                            = aws_ecs_cluster.main.arn
  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 100
  desired_count                      = var.scaling.min
  enable_ecs_managed_tags            = true
  enable_execute_command             = false
  health_check_grace_period_seconds  = 60
  launch_type                        = "FARGATE"
  propagate_tags                     = "SERVICE"
  task_definition                    = aws_ecs_task_definition.game.arn
  wait_for_steady_state              = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  load_balancer {
    container_name   = local.container
    container_port   = var.task.port
    target_group_arn = aws_lb_target_group.game.arn
  }

  network_configuration {
    assign_public_ip = false
    security_groups  = [aws_security_group.task.id]
    subnets          = [for zone in sort(keys(var.network.private_subnet_ids)) : var.network.private_subnet_ids[zone]]
  }

  # Autoscaling changes `desired_count`, between the minimum and the maximum of aws_appautoscaling_target. A deploy must
  # not reset the number of tasks.
  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_iam_role_policy_attachment.task, aws_lb_listener.https]
}
