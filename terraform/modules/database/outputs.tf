output "arn" {
  description = "The cluster, for backup selections and IAM policies."
  value       = aws_rds_cluster.main.arn
}

output "cluster_id" {
  description = "Identifier, for alarms."
  value       = aws_rds_cluster.main.cluster_identifier
}

output "endpoint" {
  description = "Host that takes reads and writes; where the writer is not, readers forward writes to it."
  value       = local.is_writer ? aws_rds_cluster.main.endpoint : aws_rds_cluster.main.reader_endpoint

  # The host answers once an instance exists.
  depends_on = [aws_rds_cluster_instance.main]
}

output "port" {
  description = "Port of the endpoint."
  value       = 5432
}
