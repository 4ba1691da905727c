output "accelerator_arn" {
  description = "ARN of the accelerator, for Shield. The output is null with `routing = \"latency\"`."
  value       = one(aws_globalaccelerator_accelerator.play[*].arn)
}

output "distribution" {
  description = "ARN and id of the CloudFront distribution, for Shield, alarms and invalidations."
  value       = { arn = aws_cloudfront_distribution.web.arn, id = aws_cloudfront_distribution.web.id }
}

output "pass_store_arn" {
  description = "ARN of the key value store in which `mjctl deploy` stores the distribution's pass."
  value       = aws_cloudfront_key_value_store.pass.arn
}

output "urls" {
  description = "URLs that players open, by purpose."
  value = {
    api  = "https://${var.domain}"
    play = "wss://play.${var.domain}"
    web  = "https://${var.domain}"
  }
}

output "web_bucket" {
  description = "Name of the bucket to which `mjctl deploy` publishes the web client."
  value       = module.web.id
}
