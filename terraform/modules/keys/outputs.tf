output "arns" {
  description = "ARNs of the keys by purpose."
  value       = local.arns

  # The ARN of a replica is known before the replica exists. Modules that use the ARN must wait for the key.
  depends_on = [aws_kms_alias.purpose, aws_kms_replica_key.replica]
}
