output "dead_letter_queue" {
  description = "Name of the function's dead-letter queue, for alarms."
  value       = module.function.dead_letter_queues["ops"]
}

output "function_arn" {
  description = "ARN of the function that `mjctl cache` invokes."
  value       = module.function.arns["ops"]
}

output "function_name" {
  description = "Name of the function in Lambda, for alarms."
  value       = module.function.names["ops"]
}

output "security_group_id" {
  description = "Id of the function's security group, for the rules of the cache."
  value       = module.function.security_group_ids["ops"]
}
