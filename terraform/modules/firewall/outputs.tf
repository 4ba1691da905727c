output "arn" {
  description = "ARN of the web ACL, for a CloudFront distribution."
  value       = aws_wafv2_web_acl.main.arn
}

output "name" {
  description = "Name of the web ACL, for alarms."
  value       = aws_wafv2_web_acl.main.name
}
