output "arn" {
  description = "ARN of the web ACL, for a CloudFront distribution."
  value       = aws_wafv2_web_acl.main.arn
}

output "metric" {
  description = "Metric name of the web ACL, for alarms."
  value       = local.metric
}
