locals {
  # Release 0.1.0 has one replication group, without a purpose in its id. A deploy over 0.1.0 makes this group the cache,
  # and does not replace the group.
  is_state = var.purpose == "state"
  prefix   = local.is_state ? "${var.name}-state" : var.name
  id       = "${local.prefix}-${var.region}"
}

resource "aws_elasticache_subnet_group" "main" {
  name        = local.id
  description = "Data subnets of ${local.id}"
  subnet_ids  = [for zone in sort(keys(var.subnet_ids)) : var.subnet_ids[zone]]
}

resource "aws_elasticache_parameter_group" "main" {
  name        = local.id
  description = local.is_state ? "A full state store refuses writes and keeps its keys" : "Keys with a time to live make room first"
  family      = "redis7"

  # The keys that control the cache have no time to live, and the cache would return older values if Redis evicted these
  # keys. The keys of matches have a time to live, so that only the policy noeviction keeps these keys in a full Redis.
  # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.Engine.html
  parameter {
    name  = "maxmemory-policy"
    value = local.is_state ? "noeviction" : "volatile-lru"
  }

  # Nodes run in cluster mode if the parameter group says so.
  # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/modify-cluster-mode.html
  dynamic "parameter" {
    for_each = local.is_state ? ["yes"] : []

    content {
      name  = "cluster-enabled"
      value = parameter.value
    }
  }
}

resource "aws_cloudwatch_log_group" "main" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  for_each = toset(["engine", "slow"])

  name              = "/${var.name}/${var.purpose}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_elasticache_replication_group" "main" {
  replication_group_id = local.id
  description          = local.is_state ? "Running matches of ${var.name} in ${var.region}" : "Cache of ${var.name} in ${var.region}"
  # With `false` a changed node type would wait for the maintenance window, and the deploy would report success before
  # the change. ElastiCache changes the node type of a replication group with replicas while the group serves.
  # https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyReplicationGroup.html
  apply_immediately          = true
  at_rest_encryption_enabled = true
  auto_minor_version_upgrade = true
  automatic_failover_enabled = true
  cluster_mode               = local.is_state ? "enabled" : null
  engine                     = "redis"
  engine_version             = var.engine_version
  kms_key_id                 = var.kms_key_arn
  maintenance_window         = var.maintenance_window
  multi_az_enabled           = true
  node_type                  = var.node_type
  num_cache_clusters         = local.is_state ? null : 1 + var.replicas
  num_node_groups            = local.is_state ? var.shards : null
  parameter_group_name       = aws_elasticache_parameter_group.main.name
  port                       = 6379
  replicas_per_node_group    = local.is_state ? var.replicas : null
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
