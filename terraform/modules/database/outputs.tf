output "arn" {
  description = "ARN of the cluster, for backup selections and IAM policies."
  value       = aws_rds_cluster.main.arn
}

output "cluster_id" {
  description = "Identifier of the cluster, for alarms."
  value       = aws_rds_cluster.main.cluster_identifier
}

output "endpoint" {
  description = "Host name of the database for reads and writes. In a region without the writer, the host is a reader that forwards writes to the writer's region."
  value       = local.is_writer ? aws_rds_cluster.main.endpoint : aws_rds_cluster.main.reader_endpoint

  # The host name of an Aurora cluster accepts connections only after the cluster's first instance exists.
  depends_on = [aws_rds_cluster_instance.main]
}

output "other_endpoint" {
  description = "Host name of the database for reads and writes after the writer of the global database has moved to this region or away."
  value       = local.is_writer ? aws_rds_cluster.main.reader_endpoint : aws_rds_cluster.main.endpoint

  depends_on = [aws_rds_cluster_instance.main]
}

output "port" {
  description = "TCP port of the endpoint."
  value       = 5432
}

output "writer_endpoint" {
  description = "Host name of the cluster's own writer, for changes of the schema, which Aurora does not forward. The host accepts connections only while the writer of the global database is in this region."
  value       = aws_rds_cluster.main.endpoint

  depends_on = [aws_rds_cluster_instance.main]
}
