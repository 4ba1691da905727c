output "tables" {
  description = "Name and ARN in this region, by key of data-plane.yaml."
  # From names: policies that take them are whole at plan.
  value = { for key in keys(aws_dynamodb_table_replica.replica) : key => {
    arn  = join(":", [for index, part in split(":", var.tables[key].arn) : index == 3 ? var.region : part])
    name = var.tables[key].name
  } }
}
