resource "aws_rds_global_cluster" "global" {
  count = length(var.replica_regions) > 0 ? 1 : 0

  global_cluster_identifier = "${var.name}-global"
  database_name             = var.database_name
  deletion_protection       = var.deletion_protection
  engine                    = "aurora-postgresql"
  engine_version            = var.engine_version
  storage_encrypted         = true
}

# RDS cannot manage the master password of a global cluster. The generated master password passes from the ephemeral
# resource to the secret, so that the password appears in no plan and no state.
ephemeral "aws_secretsmanager_random_password" "master" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "master" {
  #checkov:skip=CKV2_AWS_57:An operator changes the master password by a higher `password_version`, without a rotation function.
  name                    = "${var.name}-database-master"
  description             = "Master user of the Aurora cluster"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_days

  # AWS encrypts the secret's replica in a region with the region's AWS key aws/secretsmanager, because the region's
  # stack creates the region's customer key later.
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
