locals {
  identifier    = "${var.name}-${var.region}"
  is_primary    = var.role == "primary"
  is_writer     = coalesce(var.writer, local.is_primary)
  major_version = split(".", var.global.engine_version)[0]
  zones         = sort(keys(var.subnet_ids))
  instances     = { for index in range(var.instances) : tostring(index + 1) => local.zones[index % length(local.zones)] }
}

# Terraform reads the master password of the cluster from a secret in Secrets Manager. If an apply stops after it has
# created the secret, the next apply creates the cluster with the same password.
ephemeral "aws_secretsmanager_secret_version" "master" {
  count = local.is_primary ? 1 : 0

  secret_id = var.global.secret_arn
}

resource "aws_db_subnet_group" "main" {
  name        = local.identifier
  description = "Data subnets of ${local.identifier}"
  subnet_ids  = [for zone in local.zones : var.subnet_ids[zone]]
}

resource "aws_rds_cluster_parameter_group" "main" {
  name        = "${local.identifier}-pg${local.major_version}"
  description = "TLS forced, connections and data definition logged"
  family      = "aurora-postgresql${local.major_version}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Terraform creates the log group before the cluster. A log group that RDS creates would keep its logs for ever.
resource "aws_cloudwatch_log_group" "postgresql" {
  #checkov:skip=CKV_AWS_338:Logs of 90 days are enough to find a fault, and only the audit log of the function `ops` is kept for a year.
  name              = "/aws/rds/cluster/${local.identifier}/postgresql"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_rds_cluster" "main" {
  #checkov:skip=CKV2_AWS_8:The stack `region` passes the cluster to the module `backup`, which checkov does not see.
  cluster_identifier              = local.identifier
  backup_retention_period         = var.backup_retention_days
  copy_tags_to_snapshot           = true
  database_name                   = local.is_primary ? var.global.database_name : null
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.main.name
  db_subnet_group_name            = aws_db_subnet_group.main.name
  deletion_protection             = var.deletion_protection
  # In the primary region, `enable_global_write_forwarding` takes effect only after a failover has made the region's
  # cluster a secondary.
  enable_global_write_forwarding  = var.global.global_cluster_id == null ? null : true
  enabled_cloudwatch_logs_exports = ["postgresql"]
  engine                          = "aurora-postgresql"
  engine_version                  = var.global.engine_version
  final_snapshot_identifier       = "${local.identifier}-final"
  global_cluster_identifier       = var.global.global_cluster_id
  kms_key_id                      = var.kms_key_arn
  master_password_wo              = local.is_primary ? jsondecode(ephemeral.aws_secretsmanager_secret_version.master[0].secret_string).password : null
  master_password_wo_version      = local.is_primary ? var.global.password_version : null
  master_username                 = local.is_primary ? var.global.username : null
  preferred_backup_window         = "02:00-03:00"
  preferred_maintenance_window    = var.maintenance_window
  skip_final_snapshot             = !var.deletion_protection
  storage_encrypted               = true
  vpc_security_group_ids          = [aws_security_group.main.id]

  iam_database_authentication_enabled = true

  dynamic "serverlessv2_scaling_configuration" {
    for_each = var.capacity == null ? [] : [var.capacity]

    content {
      max_capacity = serverlessv2_scaling_configuration.value.max
      min_capacity = serverlessv2_scaling_configuration.value.min
    }
  }

  # A failover or a switchover between regions changes the attributes in `ignore_changes` outside of Terraform, and
  # Terraform must not revert the change.
  lifecycle {
    ignore_changes = [global_cluster_identifier, replication_source_identifier]
  }

  depends_on = [aws_cloudwatch_log_group.postgresql]
}

resource "aws_rds_cluster_instance" "main" {
  #checkov:skip=CKV_AWS_226:The comment at `auto_minor_version_upgrade` has the reason.
  for_each = local.instances

  identifier = "${local.identifier}-${each.key}"
  # The configuration names the minor version. After an automatic upgrade, the next plan would return to the older version,
  # which Aurora refuses: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Maintenance.AMVU.html
  auto_minor_version_upgrade      = false
  availability_zone               = each.value
  cluster_identifier              = aws_rds_cluster.main.id
  copy_tags_to_snapshot           = true
  db_subnet_group_name            = aws_db_subnet_group.main.name
  engine                          = "aurora-postgresql"
  engine_version                  = var.global.engine_version
  instance_class                  = var.instance_class
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
  publicly_accessible             = false
}
