output "arns" {
  description = "ARNs of the keys by purpose."
  value       = local.arns

  # Terraform knows the ARN of a replica key before the replica key exists, so a module that uses the ARN must wait
  # until the replica key exists.
  depends_on = [aws_kms_alias.purpose, aws_kms_replica_key.replica]
}
