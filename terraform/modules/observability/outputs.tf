output "alarm_topic" {
  description = "Topic that alarms go to."
  value       = aws_sns_topic.alarms.arn
}

output "health_alarm" {
  description = "Alarm that takes the region out of the API's latency records."
  value       = aws_cloudwatch_metric_alarm.alarm["no-healthy-server"].alarm_name
}
