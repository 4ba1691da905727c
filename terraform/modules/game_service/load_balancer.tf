locals {
  # The name of the target group contains a hash of the values that force a new target group. The old and the new target
  # group can therefore exist together.
  target_group_suffix = substr(sha1(jsonencode([var.network.cidr, var.task.port, local.target_protocol])), 0, 6)
  # The load balancer encrypts its connections to the game servers, and accepts every certificate. The VPC authenticates
  # the packets of the load balancer and its targets:
  # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-routing-configuration
  target_protocol = "HTTPS"
}

resource "aws_lb" "game" {
  #checkov:skip=CKV2_AWS_28:The stack `region` protects the load balancer with the module firewall.
  name                       = "${var.name}-game"
  client_keep_alive          = 3600
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
  # The idle timeout covers three WebSocket pings, so that the load balancer does not close the connection of a player
  # who sends nothing.
  idle_timeout       = max(60, 3 * var.task.ping_seconds)
  internal           = false
  load_balancer_type = "application"
  security_groups    = [aws_security_group.load_balancer.id]
  subnets            = [for zone in sort(keys(var.network.public_subnet_ids)) : var.network.public_subnet_ids[zone]]

  access_logs {
    bucket  = var.access_log_bucket
    enabled = true
    prefix  = "game"
  }
}

resource "aws_lb_target_group" "game" {
  name = "${var.name}-${local.target_group_suffix}"
  # ECS sends SIGTERM after the deregistration delay, even if the target has no connections any more. A server learns
  # within about 3 s that its task stops, and moves its matches and players before the end of the delay:
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-connection-draining.html
  deregistration_delay          = var.task.deregistration_seconds
  load_balancing_algorithm_type = "least_outstanding_requests"
  port                          = var.task.port
  protocol                      = local.target_protocol
  target_type                   = "ip"
  vpc_id                        = var.network.vpc_id

  # A target that cannot reach the state store stays healthy. ECS replaces the task of each unhealthy target, and a
  # failover of the state store would replace all servers:
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-healthcheck.html
  health_check {
    enabled             = true
    healthy_threshold   = 2
    interval            = 5
    matcher             = "200"
    path                = "/servingz"
    port                = tostring(var.task.ops_port)
    protocol            = local.target_protocol
    timeout             = 3
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.game.arn
  certificate_arn   = var.certificate_arn
  port              = 443
  protocol          = "HTTPS"
  # The policy ELBSecurityPolicy-TLS13-1-2-2021-06 allows TLS 1.2 and 1.3. A policy with TLS 1.3 alone would exclude old
  # clients.
  ssl_policy = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.game.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.game.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-game-lb"
  description = "Players, by HTTPS and WebSocket"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${var.name}-game-lb" }
}

resource "aws_vpc_security_group_ingress_rule" "players" {
  #checkov:skip=CKV_AWS_260:Port 80 only redirects players to HTTPS.
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.load_balancer.id
  description       = each.key == "http" ? "Players, only to be sent to HTTPS" : "Players"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  for_each = { ops = var.task.ops_port, play = var.task.port }

  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Game servers, ${each.key}"
  referenced_security_group_id = aws_security_group.task.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}
