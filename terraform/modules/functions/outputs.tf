output "arns" {
  description = "Functions by name."
  value       = { for name, function in aws_lambda_function.function : name => function.arn }
}

output "dead_letter_queues" {
  description = "Names of the dead-letter queues by function, for alarms."
  value       = { for name, queue in aws_sqs_queue.dead_letter : name => queue.name }
}

output "invoke_arns" {
  description = "What API Gateway calls, by name."
  value       = { for name, function in aws_lambda_function.function : name => function.invoke_arn }
}

output "names" {
  description = "Physical names by name, for alarms and permissions."
  value       = { for name in keys(var.functions) : name => "${var.name}-${name}" }
}

output "security_group_ids" {
  description = "Security groups of the functions in the VPC, by name."
  value       = { for name, group in aws_security_group.function : name => group.id }
}
