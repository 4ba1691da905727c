output "arn" {
  description = "ARN of the replication group, for IAM policies."
  # The ARN is composed from names, so that Terraform knows the ARN at plan, and the plan shows complete IAM policies.
  value = "arn:aws:elasticache:${var.region}:${var.account_id}:replicationgroup:${local.id}"
}

output "endpoint" {
  description = "Host name to connect to. In cluster mode the name resolves to the nodes, which name the primary of each slot. Without cluster mode the name resolves to the primary node."
  value       = local.is_state ? aws_elasticache_replication_group.main.configuration_endpoint_address : aws_elasticache_replication_group.main.primary_endpoint_address
}

output "member_ids" {
  description = "Ids of the nodes, for alarms: by their number from 1, or in cluster mode by `<shard>-<number>`."
  # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheMetrics.html
  value = local.is_state ? merge([for shard in range(var.shards) : {
    for index in range(1 + var.replicas) : "${shard + 1}-${index + 1}" => format("%s-%04d-%03d", local.id, shard + 1, index + 1)
  }]...) : { for index in range(1 + var.replicas) : tostring(index + 1) => format("%s-%03d", local.id, index + 1) }
}

output "replication_group_id" {
  description = "Id of the replication group, which a client signs at a log-in by IAM."
  value       = local.id
}

output "user_arns" {
  description = "ARNs of the users by name, for the IAM permission `elasticache:Connect`."
  value       = { for name, user in aws_elasticache_user.iam : name => "arn:aws:elasticache:${var.region}:${var.account_id}:user:${user.user_id}" }
}

output "user_names" {
  description = "User names that clients send at log-in, by the keys of `users`."
  value       = { for name, user in aws_elasticache_user.iam : name => user.user_name }
}
