resource "aws_dynamodb_table_replica" "replica" {
  for_each = var.tables

  global_table_arn            = each.value.arn
  deletion_protection_enabled = var.deletion_protection
  kms_key_arn                 = var.kms_key_arn
  point_in_time_recovery      = true

  tags = { Name = each.value.name }
}
