output "alarm_topic" {
  description = "ARN of the SNS topic that receives the alarms."
  value       = aws_sns_topic.alarms.arn
}

output "health_alarm" {
  description = "Name of the alarm that removes the region from the API's latency records while it is active."
  value       = aws_cloudwatch_metric_alarm.alarm["no-healthy-server"].alarm_name
}
