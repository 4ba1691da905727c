output "arn" {
  description = "The bucket, for the CI role."
  value       = module.bucket.arn
}

output "bucket" {
  description = "Name of the bucket, for `-backend-config`."
  value       = module.bucket.id
}
