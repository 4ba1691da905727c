output "arns" {
  description = "Key ARNs by purpose."
  value       = local.arns

  # A consumer that starts before the alias exists finds the key by ARN, but a person does not find it by name.
  depends_on = [aws_kms_alias.purpose]
}
