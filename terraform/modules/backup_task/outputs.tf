output "container" {
  description = "Name of the container, for the overrides of `ecs:RunTask`."
  value       = local.container
}

output "log_group" {
  description = "Name of the log group of the tasks, for messages of `mjctl backup`."
  value       = aws_cloudwatch_log_group.task.name
}

output "security_group_id" {
  description = "Id of the task's security group, for the rules of the database."
  value       = aws_security_group.task.id
}

output "task_definition_arn" {
  description = "ARN of the task definition, which `mjctl backup` starts."
  value       = aws_ecs_task_definition.task.arn

  # A task that starts before its role has its permissions would fail.
  depends_on = [aws_iam_role_policy_attachment.execution, aws_iam_role_policy_attachment.task]
}
