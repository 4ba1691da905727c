output "tables" {
  description = "Name and ARN by key of data-plane.yaml."
  value       = { for key, table in aws_dynamodb_table.table : key => { name = table.name, arn = table.arn } }
}
