output "arns" {
  description = "Key ARNs by purpose."
  value       = local.arns

  # An ARN that is known early must not be used early.
  depends_on = [aws_kms_alias.purpose, aws_kms_replica_key.replica]
}
