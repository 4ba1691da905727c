locals {
  rules = {
    daily   = { schedule = "cron(0 3 * * ? *)", keep = var.retention_days.daily, copies = var.retention_days.copies }
    monthly = { schedule = "cron(0 4 1 * ? *)", keep = var.retention_days.monthly, copies = var.retention_days.monthly }
  }
}

resource "aws_backup_vault" "main" {
  name          = "${var.name}-${var.region}"
  force_destroy = var.force_destroy
  kms_key_arn   = var.kms_key_arn
}

resource "aws_backup_vault" "copy" {
  provider = aws.copy

  name          = "${var.name}-${var.region}-copies"
  force_destroy = var.force_destroy
  kms_key_arn   = var.copy_kms_key_arn
}

# Vault lock in governance mode: only a principal with the permission to remove the lock can delete a recovery point
# before the end of its retention.
resource "aws_backup_vault_lock_configuration" "main" {
  count = var.lock ? 1 : 0

  backup_vault_name  = aws_backup_vault.main.name
  min_retention_days = 7
}

resource "aws_backup_vault_lock_configuration" "copy" {
  provider = aws.copy
  count    = var.lock ? 1 : 0

  backup_vault_name  = aws_backup_vault.copy.name
  min_retention_days = 7
}

resource "aws_backup_plan" "main" {
  name = "${var.name}-${var.region}"

  dynamic "rule" {
    for_each = local.rules

    content {
      completion_window = 720
      rule_name         = rule.key
      schedule          = rule.value.schedule
      start_window      = 60
      target_vault_name = aws_backup_vault.main.name

      copy_action {
        # The ARN of the vault for copies is composed from names, so that a plan shows the region of the copies.
        destination_vault_arn = "arn:aws:backup:${var.copy_region}:${var.account_id}:backup-vault:${aws_backup_vault.copy.name}"

        lifecycle {
          delete_after = rule.value.copies
        }
      }

      lifecycle {
        delete_after = rule.value.keep
      }
    }
  }
}

resource "aws_backup_selection" "main" {
  name         = "${var.name}-${var.region}"
  iam_role_arn = aws_iam_role.backup.arn
  plan_id      = aws_backup_plan.main.id
  resources    = [for name in sort(keys(var.resources)) : var.resources[name]]
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "backup" {
  name               = "${var.name}-${var.region}-backup"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

# AWS maintains the two managed policies for AWS Backup: AWS adds a permission when AWS Backup needs the permission for
# a kind of resource.
resource "aws_iam_role_policy_attachment" "backup" {
  for_each = toset(["AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"])

  role       = aws_iam_role.backup.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/${each.key}"
}
