output "tables" {
  description = "Name and ARN in this region, by key of data-plane.yaml."
  value       = { for key, replica in aws_dynamodb_table_replica.replica : key => { name = var.tables[key].name, arn = replica.arn } }
}
