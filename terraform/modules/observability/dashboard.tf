locals {
  # Widgets of the dashboard. Each widget has a title, and metrics in the source format of CloudWatch.
  widgets = [
    { title = "Players per task", metrics = [[var.name, "PlayersPerTask"]] },
    { title = "Game servers", metrics = [["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.game.cluster_name, "ServiceName", var.game.service_name], ["AWS/ECS", "CPUUtilization", "ClusterName", var.game.cluster_name, "ServiceName", var.game.service_name]] },
    { title = "Load balancer", metrics = [["AWS/ApplicationELB", "ActiveConnectionCount", "LoadBalancer", var.game.load_balancer], ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", var.game.load_balancer]] },
    { title = "API", metrics = [["AWS/ApiGateway", "Count", "ApiId", var.api_id], ["AWS/ApiGateway", "5xx", "ApiId", var.api_id], ["AWS/ApiGateway", "Latency", "ApiId", var.api_id]] },
    { title = "Functions: errors", metrics = [for name in sort(keys(var.functions)) : ["AWS/Lambda", "Errors", "FunctionName", var.functions[name]]] },
    { title = "Dead letters", metrics = [for name in sort(keys(var.dead_letter_queues)) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.dead_letter_queues[name]]] },
    { title = "Cache: memory", metrics = [for number in sort(keys(var.cache_members)) : ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "CacheClusterId", var.cache_members[number]]] },
    { title = "State store: memory", metrics = [for number in sort(keys(var.state_members)) : ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "CacheClusterId", var.state_members[number]]] },
    { title = "Database", metrics = [["AWS/RDS", "CPUUtilization", "DBClusterIdentifier", var.database.cluster_id], ["AWS/RDS", "DatabaseConnections", "DBClusterIdentifier", var.database.cluster_id]] },
    { title = "Tables: throttles", metrics = concat([for key in sort(keys(var.tables)) : [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : ["AWS/DynamoDB", metric, "TableName", var.tables[key]]]]...) },
  ]
}

resource "aws_cloudwatch_dashboard" "region" {
  dashboard_name = "${var.name}-${var.region}"

  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type       = "metric"
      x          = (index % 3) * 8
      y          = floor(index / 3) * 6
      width      = 8
      height     = 6
      properties = { title = widget.title, metrics = widget.metrics, region = var.region, period = 60, stat = "Sum", view = "timeSeries" }
    }]
  })
}
