locals {
  subjects = { deploy = var.subjects.deploy, plan = setunion(var.subjects.deploy, var.subjects.plan) }

  # Services whose resources the stacks make. Their actions take no useful resource before the resource exists, so region and
  # account bound them; IAM and KMS, through which more could be had, are bound by name or tag below.
  services = [
    "acm", "application-autoscaling", "apigateway", "backup", "backup-storage", "cloudfront", "cloudwatch", "cognito-idp", "dynamodb", "ec2", "ecr",
    "ecs", "elasticache", "elasticloadbalancing", "globalaccelerator", "lambda", "logs", "rds", "route53", "s3",
    "secretsmanager", "shield", "sns", "sqs", "wafv2",
  ]
}

resource "aws_iam_openid_connect_provider" "ci" {
  url            = "https://${var.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  #checkov:skip=CKV_AWS_358:the variable refuses a subject that does not name owner and repository
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
  # Waiver `*`: see local.services.
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

  # Waiver `*`: a key has no name; its tag says whose it is, and a new one must get it.
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

  statement {
    sid     = "OwnRoles"
    actions = ["iam:AttachRolePolicy", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:CreateRole", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole", "iam:DetachRolePolicy", "iam:Get*", "iam:List*", "iam:TagPolicy", "iam:TagRole", "iam:UntagPolicy", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription"]
    resources = [
      "arn:aws:iam::${var.account_id}:policy/${var.name}-*",
      "arn:aws:iam::${var.account_id}:role/${var.name}-*",
    ]
  }

  # AWS makes these for a service when its first resource is made, with rights that it chooses itself.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:aws:iam::${var.account_id}:role/aws-service-role/*"]
  }

  # A pipeline that could change its own roles could give itself anything.
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

resource "aws_iam_policy" "state" {
  name   = "${var.name}-ci-state"
  policy = data.aws_iam_policy_document.state.json
}

resource "aws_iam_policy" "deploy" {
  name   = "${var.name}-ci-deploy"
  policy = data.aws_iam_policy_document.deploy.json
}

resource "aws_iam_role" "ci" {
  for_each = local.subjects

  name                 = "${var.name}-ci-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 7200

  depends_on = [aws_iam_openid_connect_provider.ci]
}

resource "aws_iam_role_policy_attachment" "state" {
  for_each = local.subjects

  role       = aws_iam_role.ci[each.key].name
  policy_arn = aws_iam_policy.state.arn
}

resource "aws_iam_role_policy_attachment" "deploy" {
  role       = aws_iam_role.ci["deploy"].name
  policy_arn = aws_iam_policy.deploy.arn
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.ci["plan"].name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}
