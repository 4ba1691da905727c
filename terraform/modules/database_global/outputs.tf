output "database_name" {
  description = "Name of the database inside PostgreSQL."
  value       = var.database_name
}

output "engine_version" {
  description = "Version that every regional cluster runs."
  value       = var.engine_version
}

output "global_cluster_id" {
  description = "Global cluster that the regional ones join; null with one region only."
  value       = one(aws_rds_global_cluster.global[*].id)
}

output "password_version" {
  description = "Version of the master password that the primary cluster takes over."
  value       = var.password_version
}

output "secret_arn" {
  description = "Master secret in this region, JSON with `username` and `password`. A replica has the same ARN with its own region."
  value       = aws_secretsmanager_secret_version.master.arn
}

output "username" {
  description = "Master user."
  value       = var.username
}
