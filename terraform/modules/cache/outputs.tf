output "arn" {
  description = "The replication group, for IAM policies."
  # From names, as in the users below: policies that take them are whole at plan.
  value = "arn:aws:elasticache:${var.region}:${var.account_id}:replicationgroup:${local.id}"
}

output "endpoint" {
  description = "Host of the primary; it follows a failover."
  value       = aws_elasticache_replication_group.main.primary_endpoint_address
}

output "member_ids" {
  description = "Ids of the nodes by number, for alarms."
  value       = { for index in range(1 + var.replicas) : tostring(index + 1) => format("%s-%03d", local.id, index + 1) }
}

output "replication_group_id" {
  description = "The group's id, which a log-in by IAM signs."
  value       = local.id
}

output "user_arns" {
  description = "Users by name, for IAM policies (`elasticache:Connect`)."
  value       = { for name, user in aws_elasticache_user.iam : name => "arn:aws:elasticache:${var.region}:${var.account_id}:user:${user.user_id}" }
}

output "user_names" {
  description = "User name that a client sends, by name."
  value       = { for name, user in aws_elasticache_user.iam : name => user.user_name }
}
