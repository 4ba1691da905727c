output "alarm_topic" {
  description = "ARN of the SNS topic that receives the alarms."
  value       = aws_sns_topic.alarms.arn
}

output "health_alarm" {
  description = "Name of the alarm `no-healthy-server`. While this alarm is active, the DNS records of the API exclude the region."
  value       = aws_cloudwatch_metric_alarm.alarm["no-healthy-server"].alarm_name
}
