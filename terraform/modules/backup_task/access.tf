locals {
  bucket    = "arn:aws:s3:::${var.bucket}"
  container = "backup"
  own       = "${var.region}:${var.account_id}"
  scratch   = "arn:aws:dynamodb:${local.own}:table/${var.name}-scratch.*"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    # The condition on `aws:SourceAccount` prevents the confused deputy problem: ECS cannot use the role for a task of
    # another account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  # Waiver for the resource `*`: `ecr:GetAuthorizationToken` accepts no ARN.
  statement {
    sid       = "WaivedRegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:aws:ecr:${local.own}:repository/${var.repository_name}"]
  }

  statement {
    sid       = "OwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${local.own}:log-group:/${var.name}/backup:*"]
  }
}

data "aws_iam_policy_document" "task" {
  # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.IAMPolicy.html
  statement {
    sid       = "DatabaseLogIn"
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:${local.own}:dbuser:*/${var.database_user}"]
  }

  statement {
    sid       = "ReadTables"
    actions   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:Scan"]
    resources = var.table_arns
  }

  # A drill restores a backup into scratch tables, compares the scratch tables with the backup, and deletes them. A table
  # that mjctl creates with a tag also needs the action TagResource:
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
  statement {
    sid = "ScratchTables"
    actions = [
      "dynamodb:BatchWriteItem", "dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:DescribeTable",
      "dynamodb:DescribeTimeToLive", "dynamodb:Scan", "dynamodb:TagResource", "dynamodb:UpdateTimeToLive",
    ]
    resources = [local.scratch]
  }

  # Waiver for the resource `*`: `dynamodb:ListTables` accepts no ARN. The task finds the scratch tables of a drill by
  # their names.
  statement {
    sid       = "WaivedListTables"
    actions   = ["dynamodb:ListTables"]
    resources = ["*"]
  }

  statement {
    sid       = "BackupObjects"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket}/*"]
  }

  statement {
    sid       = "ListBackups"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket]
  }

  # The key `data` also encrypts fields of players and the passes of operators, each with another encryption context.
  # https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
  statement {
    sid       = "KeysOfBackups"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.data_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["backup"]
    }
  }

  # The key encrypts the objects of the bucket and the items of the tables, and AWS checks the permission of the caller.
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
  statement {
    sid       = "KeyOfStores"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}

# A principal with this policy can start the task with any program, and the program can read all data of the region. This
# module attaches the policy to no role, so that an administrator decides who makes portable backups.
data "aws_iam_policy_document" "portable_backup" {
  statement {
    sid       = "RunBackupTask"
    actions   = ["ecs:RunTask"]
    resources = ["arn:aws:ecs:${local.own}:task-definition/${var.name}-backup:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["arn:aws:ecs:${local.own}:cluster/${var.cluster_name}"]
    }
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_service-with-iam.html
  statement {
    sid       = "PassRolesOfTask"
    actions   = ["iam:PassRole"]
    resources = [for kind in ["exec", "task"] : "arn:aws:iam::${var.account_id}:role/${var.name}-${var.region}-backup-${kind}"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "WatchTask"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:aws:ecs:${local.own}:task/${var.cluster_name}/*"]
  }

  statement {
    sid       = "BackupObjects"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket}/*"]
  }

  statement {
    sid       = "ListBackups"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket]
  }

  # The option --copy-to encrypts the key of a backup with the KMS key of another region, so it needs the policies of both
  # regions.
  statement {
    sid       = "KeysOfBackups"
    actions   = ["kms:Decrypt", "kms:Encrypt"]
    resources = [var.data_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["backup"]
    }
  }

  statement {
    sid       = "KeyOfBucket"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }

  statement {
    sid       = "LookAtKey"
    actions   = ["kms:DescribeKey"]
    resources = [var.data_key_arn]
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-${var.region}-backup-exec"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "execution" {
  name   = "${var.name}-${var.region}-backup-exec"
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = aws_iam_policy.execution.arn
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-${var.region}-backup-task"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "task" {
  name   = "${var.name}-${var.region}-backup-task"
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_role_policy_attachment" "task" {
  role       = aws_iam_role.task.name
  policy_arn = aws_iam_policy.task.arn
}

resource "aws_iam_policy" "portable_backup" {
  name        = "${var.name}-${var.region}-portable-backup"
  description = "Portable backups and drills of this region by mjctl backup"
  policy      = data.aws_iam_policy_document.portable_backup.json
}
