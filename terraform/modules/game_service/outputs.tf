output "cluster_name" {
  description = "ECS cluster, for `mjctl servers`."
  value       = aws_ecs_cluster.main.name
}

output "load_balancer" {
  description = "What alias records, the accelerator, the firewall and alarms need of the load balancer."
  value = {
    arn        = aws_lb.game.arn
    arn_suffix = aws_lb.game.arn_suffix
    dns_name   = aws_lb.game.dns_name
    zone_id    = aws_lb.game.zone_id
  }
}

output "log_group" {
  description = "Where the tasks log, for `mjctl servers`."
  value       = aws_cloudwatch_log_group.game.name
}

output "minimum_tasks" {
  description = "Tasks that must always run, for alarms."
  value       = var.scaling.min
}

output "security_group_id" {
  description = "Security group of the tasks, for cache and database."
  value       = aws_security_group.task.id
}

output "service_name" {
  description = "ECS service, for `mjctl servers`."
  value       = aws_ecs_service.game.name
}

output "target_group_arn" {
  description = "Target group, for the health of its targets."
  value       = aws_lb_target_group.game.arn
}

output "target_group_arn_suffix" {
  description = "Target group, for alarms."
  value       = aws_lb_target_group.game.arn_suffix
}

output "task_definition_arn" {
  description = "What should run. A roll-out that the circuit breaker took back also ends steady: whoever applied compares."
  value       = aws_ecs_task_definition.game.arn
}
