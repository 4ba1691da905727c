output "database_name" {
  description = "Name of the database inside PostgreSQL."
  value       = var.database_name
}

output "engine_version" {
  description = "Version of Aurora PostgreSQL for every regional cluster."
  value       = var.engine_version
}

output "global_cluster_id" {
  description = "Id of the global cluster that the regional clusters join. The id is null if the environment has one region."
  value       = one(aws_rds_global_cluster.global[*].id)
}

output "password_version" {
  description = "Version number of the master password that the primary cluster uses."
  value       = var.password_version
}

output "secret_arn" {
  description = "ARN of the master secret in this region. The secret is JSON with `username` and `password`. The ARN of the secret's replica in another region differs only in the region."
  value       = aws_secretsmanager_secret_version.master.arn
}

output "username" {
  description = "Name of the database's master user."
  value       = var.username
}
