# Terraform locks a state by an object beside the state (`use_lockfile`), so a DynamoDB table for locks is not needed.
module "bucket" {
  source = "../bucket"

  bucket          = var.bucket
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = var.noncurrent_days
}
