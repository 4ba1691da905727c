resource "aws_rds_global_cluster" "global" {
  count = length(var.replica_regions) > 0 ? 1 : 0

  global_cluster_identifier = "${var.name}-global"
  database_name             = var.database_name
  deletion_protection       = var.deletion_protection
  engine                    = "aurora-postgresql"
  engine_version            = var.engine_version
  storage_encrypted         = true
}

# Aurora does not manage the password of a global cluster. The generated one goes from the ephemeral resource straight
# into the secret: it stands in no plan and no state.
ephemeral "aws_secretsmanager_random_password" "master" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "master" {
  #checkov:skip=CKV2_AWS_57:changed by raising password_version: a rotation function would need the master password of the global cluster in one more place
  name                    = "${var.name}-database-master"
  description             = "Master user of the Aurora cluster"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_days

  # Encrypted there with the region's aws/secretsmanager key: a replica of the customer key exists only after that region's own stack.
  dynamic "replica" {
    for_each = var.replica_regions

    content {
      region = replica.value
    }
  }
}

resource "aws_secretsmanager_secret_version" "master" {
  secret_id = aws_secretsmanager_secret.master.id
  secret_string_wo = jsonencode({
    username = var.username
    password = ephemeral.aws_secretsmanager_random_password.master.random_password
  })
  secret_string_wo_version = var.password_version
}
