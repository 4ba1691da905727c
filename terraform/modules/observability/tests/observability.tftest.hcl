mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id         = "123456789012"
  api_id             = "abcdef1234"
  backup_vault       = "arena-prod-eu-west-1"
  cache_members      = { 1 = "arena-prod-eu-west-1-001" }
  state_members      = { 1 = "arena-prod-state-eu-west-1-001" }
  database           = { cluster_id = "arena-prod-eu-west-1", secondary = true }
  dead_letter_queues = { persistence = "arena-prod-persistence-dlq" }
  event_log_group    = "/aws/lambda/arena-prod-persistence"
  functions          = { auth = "arena-prod-auth" }
  kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name               = "arena-prod"
  queues             = { persistence = "arena-prod-persistence" }
  region             = "eu-west-1"
  tables             = { matches = "arena-prod-matches" }
  web_acl_metric     = "ArenaProdRegional"

  game = {
    cluster_name  = "arena-prod"
    load_balancer = "app/arena-prod-game/0123456789abcdef"
    minimum_tasks = 3
    service_name  = "arena-prod-game"
    target_group  = "targetgroup/arena-prod-abcdef/0123456789abcdef"
  }
}

run "monitors_the_lag_of_a_secondary_database" {
  command = plan

  assert {
    condition     = one(aws_cloudwatch_metric_alarm.region_lag[0].metric_query).expression == "SELECT MAX(AuroraGlobalDBReplicationLag) FROM \"AWS/RDS\" WHERE DBClusterIdentifier = 'arena-prod-eu-west-1'"
    error_message = "An alarm must monitor the lag of a secondary database behind the primary region."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["dead-letters-persistence"].threshold == 0
    error_message = "One message in a dead-letter queue must trigger an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["backup-too-old"].treat_missing_data == "breaching"
    error_message = "Missing data about backups must trigger the alarm."
  }
}

run "monitors_throttled_requests_by_table" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["table-matches-read-throttles"].metric_name == "ReadThrottleEvents" && aws_cloudwatch_metric_alarm.alarm["table-matches-write-throttles"].metric_name == "WriteThrottleEvents"
    error_message = "DynamoDB publishes ReadThrottleEvents and WriteThrottleEvents by table, but not ThrottledRequests."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["requests-blocked"].dimensions == tomap({ Region = "eu-west-1", Rule = "ALL", WebACL = "ArenaProdRegional" })
    error_message = "The dimension `WebACL` must be the metric name of the web ACL."
  }
}

run "monitors_the_age_of_the_oldest_message_of_every_queue" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["queue-persistence-age"].metric_name == "ApproximateAgeOfOldestMessage" && aws_cloudwatch_metric_alarm.alarm["queue-persistence-age"].dimensions == tomap({ QueueName = "arena-prod-persistence" })
    error_message = "The alarm `queue-persistence-age` must monitor the queue `persistence`, not the dead-letter queue."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["queue-persistence-age"].threshold == 300 && aws_cloudwatch_metric_alarm.alarm["queue-persistence-age"].statistic == "Maximum"
    error_message = "The alarm must be on when a message is older than 300 seconds, the age at which the health check `queue/persistence` fails."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["queue-persistence-age"].treat_missing_data == "notBreaching"
    error_message = "An empty queue reports no age, and must not trigger the alarm."
  }
}

run "monitors_reused_ids_of_events" {
  command = plan

  assert {
    condition     = aws_cloudwatch_log_metric_filter.event_ids_reused.log_group_name == "/aws/lambda/arena-prod-persistence"
    error_message = "The metric filter must read the log of the function `persistence`."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["event-ids-reused"].metric_name == one(aws_cloudwatch_log_metric_filter.event_ids_reused.metric_transformation).name && aws_cloudwatch_metric_alarm.alarm["event-ids-reused"].namespace == one(aws_cloudwatch_log_metric_filter.event_ids_reused.metric_transformation).namespace
    error_message = "The alarm `event-ids-reused` must monitor the metric of the metric filter."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarm["event-ids-reused"].threshold == 0 && aws_cloudwatch_metric_alarm.alarm["event-ids-reused"].evaluation_periods == 1
    error_message = "One reused id must trigger the alarm."
  }
}

run "monitors_no_lag_of_a_primary_database" {
  command = plan

  variables {
    database = { cluster_id = "arena-prod-us-east-1", secondary = false }
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.region_lag) == 0
    error_message = "A primary database follows no other region, and must have no alarm on the lag behind another region."
  }
}
