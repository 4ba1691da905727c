output "tables" {
  description = "Name and ARN of each table by its key in data-plane.yaml."
  value       = { for key, table in aws_dynamodb_table.table : key => { name = table.name, arn = table.arn } }
}
