output "dead_letter_queue" {
  description = "Name of the dead-letter queue of the function `ops`, for alarms."
  value       = module.function.dead_letter_queues["ops"]
}

output "function_arn" {
  description = "ARN of the function `ops`, which `mjctl cache` invokes."
  value       = module.function.arns["ops"]
}

output "function_name" {
  description = "Name of the function `ops` in Lambda, for alarms."
  value       = module.function.names["ops"]
}

output "security_group_id" {
  description = "Id of the security group of the function `ops`, for the rules of the cache."
  value       = module.function.security_group_ids["ops"]
}
