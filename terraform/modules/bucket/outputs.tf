output "arn" {
  description = "The bucket, for policies."
  value       = aws_s3_bucket.main.arn
}

output "id" {
  description = "Name of the bucket, known once its policy stands."
  value       = aws_s3_bucket.main.id

  depends_on = [aws_s3_bucket_policy.main]
}
