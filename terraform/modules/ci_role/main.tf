locals {
  subjects = merge(
    { deploy = var.subjects.deploy, plan = setunion(var.subjects.deploy, var.subjects.plan) },
    { for purpose, subjects in { drill = var.subjects.drill } : purpose => subjects if length(subjects) > 0 },
  )

  # Secrets Manager appends `-` and six random characters to a secret's name in the secret's ARN.
  master_secret = "arn:aws:secretsmanager:*:${var.account_id}:secret:${var.name}-database-master-??????"

  # The role `deploy` may use all actions of the AWS services in `local.services`, which contain the resources of the
  # stacks. A policy cannot limit the creation of a resource to an ARN, because the resource has no ARN yet. The policy
  # of the role `deploy` therefore limits these actions by region. `local.services` does not contain IAM and KMS,
  # because their actions could raise permissions: separate statements limit IAM by name and KMS by region.
  services = [
    "acm", "application-autoscaling", "apigateway", "backup", "backup-storage", "cloudfront", "cloudwatch", "cognito-idp", "dynamodb", "ec2", "ecr",
    "ecs", "elasticache", "elasticloadbalancing", "globalaccelerator", "lambda", "logs", "rds", "route53", "s3",
    "secretsmanager", "ses", "shield", "sns", "sqs", "wafv2",
  ]
}

resource "aws_iam_openid_connect_provider" "ci" {
  url            = "https://${var.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  #checkov:skip=CKV_AWS_358:The module's variable `subjects` rejects a token subject that does not name owner and repository.
  for_each = local.subjects

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::${var.account_id}:oidc-provider/${var.issuer}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "${var.issuer}:sub"
      values   = each.value
    }
  }
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "ListStates"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::${var.state_bucket}"]
  }

  statement {
    sid       = "ReadWriteOwnStates"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["arn:aws:s3:::${var.state_bucket}/${var.name}/*"]
  }

  statement {
    sid       = "StateKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}

data "aws_iam_policy_document" "deploy" {
  # Waiver for the resource `*`: a create action accepts no ARN before the resource exists.
  statement {
    sid       = "WaivedStackServices"
    actions   = [for service in local.services : "${service}:*"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = setunion(var.regions, ["us-east-1", "us-west-2"])
    }
  }

  # Waiver for the resource `*`: the id of a KMS key is unknown before the key exists, and its ARN contains no name.
  statement {
    sid       = "WaivedKeys"
    actions   = ["kms:CreateAlias", "kms:CreateGrant", "kms:CreateKey", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey", "kms:EnableKeyRotation", "kms:GenerateDataKey*", "kms:Get*", "kms:List*", "kms:PutKeyPolicy", "kms:ReplicateKey", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = setunion(var.regions, ["us-east-1"])
    }
  }

  # `mjctl deploy` checks a region by its API, which needs an operator's pass.
  statement {
    sid       = "MakePasses"
    actions   = ["kms:Encrypt"]
    resources = ["arn:aws:kms:*:${var.account_id}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["operator-pass"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:environment"
      values   = [var.name]
    }
  }

  # `mjctl deploy` replaces the pass in the key value store of the distribution. The ARN of a store has a random id. The
  # calls are signed for all regions at once, so a condition on the region would not fit.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudfrontkeyvaluestore.html
  statement {
    sid       = "ReplaceDistributionPass"
    actions   = ["cloudfront-keyvaluestore:DescribeKeyValueStore", "cloudfront-keyvaluestore:GetKey", "cloudfront-keyvaluestore:UpdateKeys"]
    resources = ["arn:aws:cloudfront::${var.account_id}:key-value-store/*"]
  }

  statement {
    sid     = "OwnRoles"
    actions = ["iam:AttachRolePolicy", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:CreateRole", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole", "iam:DetachRolePolicy", "iam:Get*", "iam:List*", "iam:TagPolicy", "iam:TagRole", "iam:UntagPolicy", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription"]
    resources = [
      "arn:aws:iam::${var.account_id}:policy/${var.name}-*",
      "arn:aws:iam::${var.account_id}:role/${var.name}-*",
    ]
  }

  # Terraform reads the identity provider of the pipeline in every plan of the stack foundation.
  statement {
    sid       = "OwnIdentityProvider"
    actions   = ["iam:GetOpenIDConnectProvider", "iam:TagOpenIDConnectProvider", "iam:UntagOpenIDConnectProvider"]
    resources = ["arn:aws:iam::${var.account_id}:oidc-provider/${var.issuer}"]
  }

  # AWS creates a service-linked role together with the first resource of a service. AWS chooses the permissions of a
  # service-linked role.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:aws:iam::${var.account_id}:role/aws-service-role/*"]
  }

  # A pipeline that could change its own roles could give itself every permission.
  statement {
    sid       = "NotOwnPipelineRoles"
    effect    = "Deny"
    actions   = ["iam:AttachRolePolicy", "iam:CreatePolicyVersion", "iam:DeleteRole", "iam:DetachRolePolicy", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"]
    resources = ["arn:aws:iam::${var.account_id}:policy/${var.name}-ci-*", "arn:aws:iam::${var.account_id}:role/${var.name}-ci-*"]
  }

  statement {
    sid       = "PassOwnRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:aws:iam::${var.account_id}:role/${var.name}-*"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["backup.amazonaws.com", "ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "monitoring.rds.amazonaws.com", "vpc-flow-logs.amazonaws.com"]
    }
  }
}

# `terraform plan` passes the database's master password to the write-only argument `master_password_wo`, so the role that
# plans may read the secret with this password. Terraform writes the password into no plan and no state.
data "aws_iam_policy_document" "plan" {
  # Terraform makes a random password in every plan of the stack foundation, although it writes the password only into a
  # new secret. Waiver for the resource `*`: GetRandomPassword accepts no ARN.
  statement {
    sid       = "WaivedRandomPassword"
    actions   = ["secretsmanager:GetRandomPassword"]
    resources = ["*"]
  }

  statement {
    sid       = "MasterSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.master_secret]
  }

  statement {
    sid       = "MasterSecretKey"
    actions   = ["kms:Decrypt"]
    resources = ["arn:aws:kms:*:${var.account_id}:key/*"]

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["secretsmanager.*.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:SecretARN"
      values   = [local.master_secret]
    }
  }
}

# Permissions for `mjctl backup create --kind managed` and `mjctl backup drill --kind managed`. The role `drill` cannot
# delete a backup, and cannot write to a table of the environment.
data "aws_iam_policy_document" "drill" {
  #checkov:skip=CKV_AWS_356:The only statement with the resource `*` allows nothing but lists of resources.
  statement {
    sid       = "ReadStates"
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::${var.state_bucket}/${var.name}/*"]
  }

  statement {
    sid       = "StateKey"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }

  # Waiver for the resource `*`: a list of all tables, backups, clusters and snapshots needs a permission without an
  # ARN.
  statement {
    sid = "WaivedList"
    actions = [
      "dynamodb:ListBackups", "dynamodb:ListTables", "elasticache:DescribeReplicationGroups",
      "elasticache:DescribeSnapshots", "rds:DescribeDBClusterSnapshots", "rds:DescribeDBClusters",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LookAtVault"
    actions   = ["backup:ListRecoveryPointsByBackupVault"]
    resources = ["arn:aws:backup:*:${var.account_id}:backup-vault:${var.name}-*"]
  }

  statement {
    sid = "BackUp"
    actions = [
      "dynamodb:CreateBackup", "dynamodb:DescribeBackup", "dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable",
      "dynamodb:DescribeTimeToLive", "dynamodb:GetItem", "dynamodb:Scan", "elasticache:CreateSnapshot", "rds:CreateDBClusterSnapshot",
    ]
    resources = [
      "arn:aws:dynamodb:*:${var.account_id}:table/${var.name}-*",
      "arn:aws:elasticache:*:${var.account_id}:replicationgroup:${var.name}-*",
      "arn:aws:elasticache:*:${var.account_id}:snapshot:mjctl-*",
      "arn:aws:rds:*:${var.account_id}:cluster-snapshot:mjctl-*",
      "arn:aws:rds:*:${var.account_id}:cluster:${var.name}-*",
    ]
  }

  statement {
    sid       = "RestoreFrom"
    actions   = ["dynamodb:RestoreTableFromBackup"]
    resources = ["arn:aws:dynamodb:*:${var.account_id}:table/${var.name}-*/backup/*"]
  }

  # A drill restores a backup into a table with a scratch name, checks the table and deletes the table. AWS requires the
  # permissions to write for the table into which a backup is restored.
  statement {
    sid = "ScratchCopies"
    actions = [
      "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:DeleteTable", "dynamodb:GetItem", "dynamodb:PutItem",
      "dynamodb:Query", "dynamodb:RestoreTableFromBackup", "dynamodb:UpdateItem", "dynamodb:UpdateTimeToLive",
    ]
    resources = ["arn:aws:dynamodb:*:${var.account_id}:table/${var.name}-scratch.*"]
  }

  statement {
    sid       = "KeysOfTheStores"
    actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
    resources = ["arn:aws:kms:*:${var.account_id}:key/*"]

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["dynamodb.*.amazonaws.com", "elasticache.*.amazonaws.com", "rds.*.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "state" {
  name   = "${var.name}-ci-state"
  policy = data.aws_iam_policy_document.state.json
}

resource "aws_iam_policy" "deploy" {
  name   = "${var.name}-ci-deploy"
  policy = data.aws_iam_policy_document.deploy.json
}

resource "aws_iam_policy" "drill" {
  count = contains(keys(local.subjects), "drill") ? 1 : 0

  name   = "${var.name}-ci-drill"
  policy = data.aws_iam_policy_document.drill.json
}

resource "aws_iam_policy" "plan" {
  name   = "${var.name}-ci-plan"
  policy = data.aws_iam_policy_document.plan.json
}

resource "aws_iam_role" "ci" {
  for_each = local.subjects

  name                 = "${var.name}-ci-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 7200

  depends_on = [aws_iam_openid_connect_provider.ci]
}

resource "aws_iam_role_policy_attachment" "state" {
  for_each = toset(["deploy", "plan"])

  role       = aws_iam_role.ci[each.key].name
  policy_arn = aws_iam_policy.state.arn
}

resource "aws_iam_role_policy_attachment" "deploy" {
  role       = aws_iam_role.ci["deploy"].name
  policy_arn = aws_iam_policy.deploy.arn
}

resource "aws_iam_role_policy_attachment" "drill" {
  count = contains(keys(local.subjects), "drill") ? 1 : 0

  role       = aws_iam_role.ci["drill"].name
  policy_arn = aws_iam_policy.drill[0].arn
}

resource "aws_iam_role_policy_attachment" "master_secret" {
  role       = aws_iam_role.ci["plan"].name
  policy_arn = aws_iam_policy.plan.arn
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.ci["plan"].name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}
