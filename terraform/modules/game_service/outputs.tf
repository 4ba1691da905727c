output "cluster_name" {
  description = "Name of the ECS cluster, for `mjctl servers`."
  value       = aws_ecs_cluster.main.name
}

output "load_balancer" {
  description = "Attributes of the load balancer for alias records, the accelerator, the firewall and alarms."
  value = {
    arn        = aws_lb.game.arn
    arn_suffix = aws_lb.game.arn_suffix
    dns_name   = aws_lb.game.dns_name
    zone_id    = aws_lb.game.zone_id
  }
}

output "log_group" {
  description = "Name of the log group of the tasks, for `mjctl servers`."
  value       = aws_cloudwatch_log_group.game.name
}

output "minimum_tasks" {
  description = "Minimum number of running tasks, for alarms."
  value       = var.scaling.min
}

output "security_group_id" {
  description = "Id of the tasks' security group, for the rules of cache and database."
  value       = aws_security_group.task.id
}

output "service_name" {
  description = "Name of the ECS service, for `mjctl servers`."
  value       = aws_ecs_service.game.name
}

output "target_group_arn" {
  description = "ARN of the target group, from which `mjctl health` reads the health of the targets."
  value       = aws_lb_target_group.game.arn
}

output "target_group_arn_suffix" {
  description = "ARN suffix of the target group, for alarms."
  value       = aws_lb_target_group.game.arn_suffix
}

output "task_definition_arn" {
  description = "ARN of the task definition that the service should run. ECS's circuit breaker can roll the service back without an error of Terraform, so mjctl compares this ARN with the task definition of the running tasks."
  value       = aws_ecs_task_definition.game.arn
}
