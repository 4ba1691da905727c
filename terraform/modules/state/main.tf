# Locks are objects beside the state (`use_lockfile`); no table is needed.
module "bucket" {
  source = "../bucket"

  bucket          = var.bucket
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = var.noncurrent_days
}
