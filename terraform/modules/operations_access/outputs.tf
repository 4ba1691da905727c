output "dead_letter_queue" {
  description = "Name of the function's dead-letter queue, for alarms."
  value       = module.function.dead_letter_queues["ops"]
}

output "function_arn" {
  description = "Function that `mjctl cache` invokes."
  value       = module.function.arns["ops"]
}

output "function_name" {
  description = "Physical name, for alarms."
  value       = module.function.names["ops"]
}

output "security_group_id" {
  description = "Security group of the function, for the cache."
  value       = module.function.security_group_ids["ops"]
}
