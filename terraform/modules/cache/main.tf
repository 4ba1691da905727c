locals {
  id = "${var.name}-${var.region}"
}

resource "aws_elasticache_subnet_group" "main" {
  name        = local.id
  description = "Data subnets of ${local.id}"
  subnet_ids  = [for zone in sort(keys(var.subnet_ids)) : var.subnet_ids[zone]]
}

resource "aws_elasticache_parameter_group" "main" {
  name        = local.id
  description = "Keys with a time to live make room first"
  family      = "redis7"

  parameter {
    name  = "maxmemory-policy"
    value = "volatile-lru"
  }
}

resource "aws_cloudwatch_log_group" "main" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  for_each = toset(["engine", "slow"])

  name              = "/${var.name}/cache/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_elasticache_replication_group" "main" {
  replication_group_id       = local.id
  description                = "Volatile state and cache of ${var.name} in ${var.region}"
  apply_immediately          = false
  at_rest_encryption_enabled = true
  auto_minor_version_upgrade = true
  automatic_failover_enabled = true
  engine                     = "redis"
  engine_version             = var.engine_version
  kms_key_id                 = var.kms_key_arn
  maintenance_window         = "sun:05:00-sun:06:00"
  multi_az_enabled           = true
  node_type                  = var.node_type
  num_cache_clusters         = 1 + var.replicas
  parameter_group_name       = aws_elasticache_parameter_group.main.name
  port                       = 6379
  security_group_ids         = [aws_security_group.main.id]
  snapshot_retention_limit   = var.snapshot_retention_days
  snapshot_window            = "03:00-04:00"
  subnet_group_name          = aws_elasticache_subnet_group.main.name
  transit_encryption_enabled = true
  user_group_ids             = [aws_elasticache_user_group.main.user_group_id]

  dynamic "log_delivery_configuration" {
    for_each = aws_cloudwatch_log_group.main

    content {
      destination      = log_delivery_configuration.value.name
      destination_type = "cloudwatch-logs"
      log_format       = "json"
      log_type         = "${log_delivery_configuration.key}-log"
    }
  }
}
