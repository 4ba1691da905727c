# The way into the VPC for `mjctl cache`: no open port, no bastion; IAM says who, the log says what.
module "function" {
  source = "../functions"

  account_id         = var.account_id
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.log_retention_days
  name               = var.name
  network            = var.network
  package            = var.package
  region             = var.region

  functions = {
    ops = {
      environment          = var.environment
      handler              = var.handler
      memory_mb            = 256
      reserved_concurrency = 5
      statements           = var.cache_statements
      timeout_seconds      = 300
      vpc                  = true
    }
  }
}

data "aws_iam_policy_document" "operator" {
  statement {
    sid       = "InvokeOpsFunction"
    actions   = ["lambda:InvokeFunction"]
    resources = ["arn:aws:lambda:${var.region}:${var.account_id}:function:${var.name}-ops"]
  }
}

resource "aws_iam_policy" "operator" {
  name        = "${var.name}-${var.region}-operator"
  description = "Cache commands through the ops function"
  policy      = data.aws_iam_policy_document.operator.json
}

data "aws_iam_policy_document" "trust" {
  count = length(var.operators) > 0 ? 1 : 0

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.operators
    }

    condition {
      test     = "Bool"
      variable = "aws:MultiFactorAuthPresent"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role" "operator" {
  count = length(var.operators) > 0 ? 1 : 0

  name                 = "${var.name}-${var.region}-operator"
  assume_role_policy   = data.aws_iam_policy_document.trust[0].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "operator" {
  count = length(var.operators) > 0 ? 1 : 0

  role       = aws_iam_role.operator[0].name
  policy_arn = aws_iam_policy.operator.arn
}
