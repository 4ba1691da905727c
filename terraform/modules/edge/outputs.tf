output "accelerator_arn" {
  description = "The accelerator, for Shield; null with latency records."
  value       = one(aws_globalaccelerator_accelerator.play[*].arn)
}

output "distribution" {
  description = "The distribution, for Shield, alarms and invalidations."
  value       = { arn = aws_cloudfront_distribution.web.arn, id = aws_cloudfront_distribution.web.id }
}

output "urls" {
  description = "What players open, by purpose."
  value = {
    api  = "https://${var.domain}"
    play = "wss://play.${var.domain}"
    web  = "https://${var.domain}"
  }
}

output "web_bucket" {
  description = "Where `mjctl` publishes the web client."
  value       = module.web.id
}
