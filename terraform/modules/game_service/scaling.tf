# Every game server logs its number of players every ten seconds, as {"event": "server_status", "players": n}. The
# average of the numbers of players that the game servers log is the metric PlayersPerTask, by which the number of tasks
# is scaled.
resource "aws_cloudwatch_log_metric_filter" "players" {
  name           = "${var.name}-players"
  log_group_name = aws_cloudwatch_log_group.game.name
  pattern        = "{ $.event = \"server_status\" && $.players >= 0 }"

  metric_transformation {
    name      = "PlayersPerTask"
    namespace = var.name
    unit      = "Count"
    value     = "$.players"
  }
}

resource "aws_appautoscaling_target" "game" {
  max_capacity       = var.scaling.max
  min_capacity       = var.scaling.min
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.game.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  service_namespace  = "ecs"
}

resource "aws_appautoscaling_policy" "players" {
  name               = "${var.name}-players"
  policy_type        = "TargetTrackingScaling"
  resource_id        = aws_appautoscaling_target.game.resource_id
  scalable_dimension = aws_appautoscaling_target.game.scalable_dimension
  service_namespace  = aws_appautoscaling_target.game.service_namespace

  target_tracking_scaling_policy_configuration {
    scale_in_cooldown  = 600
    scale_out_cooldown = 60
    target_value       = var.scaling.players_per_task * var.scaling.players_percent / 100

    customized_metric_specification {
      metric_name = aws_cloudwatch_log_metric_filter.players.metric_transformation[0].name
      namespace   = aws_cloudwatch_log_metric_filter.players.metric_transformation[0].namespace
      statistic   = "Average"
      unit        = "Count"
    }
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  resource_id        = aws_appautoscaling_target.game.resource_id
  scalable_dimension = aws_appautoscaling_target.game.scalable_dimension
  service_namespace  = aws_appautoscaling_target.game.service_namespace

  target_tracking_scaling_policy_configuration {
    scale_in_cooldown  = 600
    scale_out_cooldown = 60
    target_value       = var.scaling.cpu_percent

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
