output "arn" {
  description = "The ACL, for a distribution."
  value       = aws_wafv2_web_acl.main.arn
}

output "name" {
  description = "Name of the ACL, for alarms."
  value       = aws_wafv2_web_acl.main.name
}
