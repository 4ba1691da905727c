output "arn" {
  description = "ARN of the certificate, available after ACM has validated the certificate."
  value       = aws_acm_certificate_validation.main.certificate_arn
}
