output "arns" {
  description = "ARNs of the functions by name."
  value       = { for name, function in aws_lambda_function.function : name => function.arn }
}

output "dead_letter_queues" {
  description = "Names of the dead-letter queues by function, for alarms."
  value       = { for name, queue in aws_sqs_queue.dead_letter : name => queue.name }
}

output "invoke_arns" {
  description = "ARNs that API Gateway invokes, by the function's name."
  value       = { for name, function in aws_lambda_function.function : name => function.invoke_arn }
}

output "log_groups" {
  description = "Names of the log groups of the functions, by the keys of `functions`."
  value       = { for name, group in aws_cloudwatch_log_group.function : name => group.name }
}

output "names" {
  description = "Names of the functions in Lambda, by the keys of `functions`, for alarms and permissions."
  value       = { for name in keys(var.functions) : name => "${var.name}-${name}" }
}

output "security_group_ids" {
  description = "Ids of the security groups of the functions in the VPC, by the function's name."
  value       = { for name, group in aws_security_group.function : name => group.id }
}
