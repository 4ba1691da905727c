output "tables" {
  description = "Name and ARN of each replica by its key in data-plane.yaml."
  # The ARN is composed from names, so that Terraform knows the ARN at plan, and the plan shows complete IAM policies.
  value = { for key in keys(aws_dynamodb_table_replica.replica) : key => {
    arn  = join(":", [for index, part in split(":", var.tables[key].arn) : index == 3 ? var.region : part])
    name = var.tables[key].name
  } }
}
