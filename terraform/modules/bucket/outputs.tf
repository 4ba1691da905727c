output "arn" {
  description = "ARN of the bucket, for IAM policies."
  value       = aws_s3_bucket.main.arn
}

output "id" {
  description = "Name of the bucket, available after the bucket's policy has been applied."
  value       = aws_s3_bucket.main.id

  depends_on = [aws_s3_bucket_policy.main]
}
