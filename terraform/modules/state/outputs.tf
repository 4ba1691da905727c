output "arn" {
  description = "ARN of the state bucket, for the pipeline's roles."
  value       = module.bucket.arn
}

output "bucket" {
  description = "Name of the state bucket, for `terraform init -backend-config`."
  value       = module.bucket.id
}
