# `mjctl cache` and `mjctl servers` reach the VPC through the function `ops`, without an open port or a bastion host.
# IAM controls who may invoke the function `ops`, and the function's log records every invocation.
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

locals {
  own = "${var.region}:${var.account_id}"

  # Permissions of operators on the resources of this region, for `mjctl health`, `loadtest`, `cache`, `queue`, `servers`
  # and `failover`.
  operator_statements = {
    DeadLetters = {
      actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:PurgeQueue", "sqs:ReceiveMessage", "sqs:SendMessage"]
      resources = ["arn:aws:sqs:${local.own}:${var.name}-*"]
    }
    InvokeOpsFunction = {
      actions   = ["lambda:InvokeFunction"]
      resources = ["arn:aws:lambda:${local.own}:function:${var.name}-ops"]
    }
    LeaveRegion = {
      actions   = ["route53:UpdateHealthCheck"]
      resources = ["arn:aws:route53:::healthcheck/*"]
    }
    # `mjctl loadtest` writes a token into the pattern set whose tokens pass the rate limit, and `mjctl health` reads the set.
    LoadTestTokens = {
      actions   = ["wafv2:GetRegexPatternSet", "wafv2:UpdateRegexPatternSet"]
      resources = ["arn:aws:wafv2:${local.own}:regional/regexpatternset/${var.name}-load-tests/*"]
    }
    LookAtApi = {
      actions   = ["apigateway:GET"]
      resources = ["arn:aws:apigateway:${var.region}::/apis/*"]
    }
    LookAtBackups = {
      actions   = ["backup:ListRecoveryPointsByBackupVault"]
      resources = ["arn:aws:backup:${local.own}:backup-vault:${var.name}-${var.region}"]
    }
    # `mjctl health` and `mjctl backup list` read the manifests of the portable backups, which contain counts and digests.
    LookAtManifests = {
      actions   = ["s3:GetObject"]
      resources = ["arn:aws:s3:::${var.name}-${var.region}-${var.account_id}-backups/*/manifest.json"]
    }
    ListPortableBackups = {
      actions   = ["s3:ListBucket"]
      resources = ["arn:aws:s3:::${var.name}-${var.region}-${var.account_id}-backups"]
    }
    LookAtFunctions = {
      actions   = ["lambda:GetFunctionConfiguration"]
      resources = ["arn:aws:lambda:${local.own}:function:${var.name}-*"]
    }
    LookAtKeys = {
      actions   = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
      resources = ["arn:aws:kms:${local.own}:key/*"]
    }
    # Only the primary region's secret says whether the replica of this region is current.
    LookAtPassReplicas = {
      actions   = ["secretsmanager:DescribeSecret"]
      resources = ["arn:aws:secretsmanager:*:${var.account_id}:secret:${var.name}-distribution-passes-??????"]
    }
    LookAtSecret = {
      actions   = ["secretsmanager:DescribeSecret"]
      resources = ["arn:aws:secretsmanager:${local.own}:secret:${var.name}-*"]
    }
    LookAtService = {
      actions   = ["ecs:DescribeServices", "ecs:DescribeTasks"]
      resources = ["arn:aws:ecs:${local.own}:service/${var.name}/*", "arn:aws:ecs:${local.own}:task/${var.name}/*"]
    }
    LookAtTables = {
      actions   = ["dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"]
      resources = ["arn:aws:dynamodb:${local.own}:table/${var.name}-*"]
    }
    LookAtTopics = {
      actions   = ["sns:ListSubscriptionsByTopic"]
      resources = ["arn:aws:sns:${local.own}:${var.name}-*"]
    }
    # The statement MoveWriter covers clusters in all regions, because a failover promotes a cluster in another region.
    MoveWriter = {
      actions   = ["rds:FailoverGlobalCluster", "rds:SwitchoverGlobalCluster"]
      resources = ["arn:aws:rds::${var.account_id}:global-cluster:${var.name}-global", "arn:aws:rds:*:${var.account_id}:cluster:${var.name}-*"]
    }
    # mjctl creates the accounts of probes and load tests, adds them to the group `internal`, and removes the accounts of
    # load tests. Cognito cannot restrict these actions to some accounts of a user pool. CloudTrail records each call.
    InternalAccounts = {
      actions   = ["cognito-idp:AdminAddUserToGroup", "cognito-idp:AdminCreateUser", "cognito-idp:AdminDeleteUser", "cognito-idp:AdminSetUserPassword"]
      resources = [var.user_pool_arn]
    }
    # mjctl makes the passes with which it calls the API of this region past CloudFront. The condition permits no other use
    # of the key.
    MakePasses = {
      actions   = ["kms:Encrypt"]
      condition = var.pass.condition
      resources = [var.pass.key_arn]
    }
    # `mjctl health` and `mjctl loadtest` compare the stored results of their matches with what their players saw.
    ReadMatches = {
      actions   = ["dynamodb:BatchGetItem"]
      resources = ["arn:aws:dynamodb:${local.own}:table/${var.name}-matches"]
    }
    QueueKey = {
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [var.kms_key_arn]
    }
    StopTasks = {
      actions   = ["ecs:StopTask"]
      resources = ["arn:aws:ecs:${local.own}:task/${var.name}/*"]
    }
    # Waiver for the resource `*`: the actions of WaivedLook accept no ARN, or an ARN that this module does not know. No
    # action of WaivedLook reads data of players.
    WaivedLook = {
      actions = [
        "acm:DescribeCertificate", "application-autoscaling:DescribeScalableTargets", "cloudfront:ListDistributions",
        "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics",
        "cognito-idp:DescribeUserPool", "ec2:DescribeManagedPrefixLists", "ec2:GetManagedPrefixListEntries", "ecs:ListTasks", "elasticache:DescribeReplicationGroups",
        "elasticloadbalancing:DescribeTargetHealth", "lambda:ListEventSourceMappings", "rds:DescribeDBClusters",
        "rds:DescribeDBInstances", "rds:DescribeGlobalClusters", "route53:ListHealthChecks", "ses:GetAccount",
        "ses:GetEmailIdentity", "wafv2:GetWebACL", "wafv2:GetWebACLForResource",
      ]
      resources = ["*"]
    }
  }
  state_statements = var.state == null ? {} : {
    # Without the permission to list the bucket, S3 answers the request for a missing state with 403 instead of 404.
    # An operator would then see the error of a missing permission for a region that is not deployed.
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    ListStates = { actions = ["s3:ListBucket"], resources = ["arn:aws:s3:::${var.state.bucket}"] }
    ReadStates = { actions = ["s3:GetObject"], resources = ["arn:aws:s3:::${var.state.bucket}/${var.name}/*"] }
    StateKey   = { actions = ["kms:Decrypt"], resources = [var.state.kms_key_arn] }
  }
}

data "aws_iam_policy_document" "operator" {
  #checkov:skip=CKV_AWS_356:The only statement with the resource `*` reads metadata, and the comment at WaivedLook has the reason.
  dynamic "statement" {
    for_each = merge(local.operator_statements, local.state_statements)

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = can(statement.value.condition) ? [statement.value.condition] : []

        content {
          test     = condition.value.test
          values   = condition.value.values
          variable = condition.value.variable
        }
      }
    }
  }
}

resource "aws_iam_policy" "operator" {
  name        = "${var.name}-${var.region}-operator"
  description = "mjctl health, cache, queue, servers and failover of this region"
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
