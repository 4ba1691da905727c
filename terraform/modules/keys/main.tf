locals {
  primaries = { for purpose, key in var.keys : purpose => key if key.primary_key_arn == null }
  replicas  = { for purpose, key in var.keys : purpose => key if key.primary_key_arn != null }
  arns = merge(var.existing, { for purpose, key in aws_kms_key.primary : purpose => key.arn }, {
    # A replica key has the id of its primary key. Terraform therefore knows the ARN of a replica key, and every policy
    # with the ARN, before the replica key exists.
    for purpose, key in local.replicas : purpose => join(":", [for index, part in split(":", key.primary_key_arn) : index == 3 ? var.region : part])
  })
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:In a key policy, the resource `*` means the key itself.

  #checkov:skip=CKV_AWS_111:In a key policy, the resource `*` means the key itself.

  #checkov:skip=CKV_AWS_356:In a key policy, the resource `*` means the key itself.
  for_each = var.keys

  # The statement AccountAdministers lets IAM policies of the account control the key. Without AccountAdministers, a key
  # can lose its last administrator.
  statement {
    sid       = "AccountAdministers"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account_id}:root"]
    }
  }

  dynamic "statement" {
    for_each = contains(each.value.services, "logs") ? [1] : []

    content {
      sid       = "LogGroups"
      actions   = ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["logs.${var.region}.amazonaws.com"]
      }

      condition {
        test     = "ArnLike"
        variable = "kms:EncryptionContext:aws:logs:arn"
        values   = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:*"]
      }
    }
  }

  dynamic "statement" {
    for_each = setsubtract(each.value.services, ["logs"])

    content {
      sid       = "Service${title(statement.value)}"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["${statement.value}.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [var.account_id]
      }
    }
  }
}

# KMS does not rotate HMAC keys: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
resource "aws_kms_key" "primary" {
  for_each = local.primaries

  description              = each.value.description
  customer_master_key_spec = each.value.hmac ? "HMAC_256" : "SYMMETRIC_DEFAULT"
  deletion_window_in_days  = var.deletion_window_days
  enable_key_rotation      = !each.value.hmac
  key_usage                = each.value.hmac ? "GENERATE_VERIFY_MAC" : "ENCRYPT_DECRYPT"
  multi_region             = each.value.multi_region
  policy                   = data.aws_iam_policy_document.key[each.key].json

  tags = { Name = "${var.name}-${each.key}" }
}

# A replica key has no rotation setting, because KMS rotates a replica key together with its primary key.
resource "aws_kms_replica_key" "replica" {
  for_each = local.replicas

  description             = each.value.description
  deletion_window_in_days = var.deletion_window_days
  primary_key_arn         = each.value.primary_key_arn
  policy                  = data.aws_iam_policy_document.key[each.key].json

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_kms_alias" "purpose" {
  for_each = var.keys

  name          = "alias/${var.name}-${each.key}"
  target_key_id = local.arns[each.key]

  depends_on = [aws_kms_replica_key.replica]
}
