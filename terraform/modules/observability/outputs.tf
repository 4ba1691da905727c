output "health_alarm" {
  description = "Alarm that takes the region out of the API's latency records."
  value       = aws_cloudwatch_metric_alarm.alarm["no-healthy-server"].alarm_name
}

output "topic_arn" {
  description = "Topic that receives every alarm."
  value       = aws_sns_topic.alarms.arn

  depends_on = [aws_sns_topic_policy.alarms]
}
