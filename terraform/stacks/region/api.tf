locals {
  table_arns = [for key in sort(keys(local.tables)) : local.tables[key].arn]

  # Environment variables of the functions `api` and `persistence`, which write to the tables and the database.
  storage_settings = merge(local.settings, {
    GAMESERVER_CACHE_SECRET  = "iam:${module.cache.replication_group_id}"
    GAMESERVER_CACHE_URL     = "rediss://${module.cache.user_names["game"]}@${module.cache.endpoint}:6379"
    GAMESERVER_DATABASE_HOST = module.database.endpoint
    GAMESERVER_DATABASE_NAME = var.foundation.database.database_name
    # After the writer of the global database has moved to this region or away, only the other host accepts writes. The
    # functions change to the other host, so a failover needs no deploy.
    GAMESERVER_DATABASE_OTHER_HOST = module.database.other_endpoint
    GAMESERVER_DATABASE_PORT       = tostring(module.database.port)
    GAMESERVER_DATABASE_SECRET     = "iam"
    GAMESERVER_DATABASE_USER       = local.application_user
    GAMESERVER_DATA_KEY_ARN        = module.keys.arns["data"]
    GAMESERVER_TABLES              = jsonencode({ for key, table in local.tables : key => table.name })
  })

  # The functions take the address of a player from CloudFront's header only if CloudFront calls from one of its networks.
  # The functions refuse calls from all other networks without an operator's pass (docs/decisions/0018), and calls from
  # CloudFront's networks without the pass of this game's distribution (docs/decisions/0021).
  edge_settings = {
    GAMESERVER_DISTRIBUTION_PASSES = "${local.name}-distribution-passes"
    GAMESERVER_EDGE_NETWORKS       = join(",", sort([for entry in data.aws_ec2_managed_prefix_list.cloudfront.entries : entry.cidr]))
  }

  # An operator's pass is a text that KMS has encrypted with this encryption context (gameserver/runtime/operator_pass.py):
  # https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
  pass_condition = { test = "StringEquals", values = ["operator-pass"], variable = "kms:EncryptionContext:purpose" }

  # All regions send mail by SES in the primary region, in which SES has verified the domain.
  mail_configuration_set = "arn:aws:ses:${var.foundation.primary_region}:${local.account_id}:configuration-set/${var.foundation.identity.sender.configuration_set}"

  # AWS appends six random characters to the name of a secret in its ARN:
  # https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_examples.html
  distribution_passes = {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["arn:aws:secretsmanager:${var.region}:${local.account_id}:secret:${local.name}-distribution-passes-??????"]
  }

  # Each function may only make those calls of a table that it makes (gameserver/persistence/tables.py). A write to a table
  # with an index needs no permission for the index. A transaction needs the permissions of its writes:
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-apis-iam
  tables_of_api = {
    Matches    = { actions = ["dynamodb:GetItem", "dynamodb:PutItem"], resources = [local.tables["matches"].arn] }
    Players    = { actions = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"], resources = [local.tables["players"].arn] }
    RateLimits = local.rate_limits
  }
  tables_of_persistence = {
    Matches         = { actions = ["dynamodb:UpdateItem"], resources = [local.tables["matches"].arn] }
    ProcessedEvents = { actions = ["dynamodb:PutItem"], resources = [local.tables["processed_events"].arn] }
  }
  rate_limits = { actions = ["dynamodb:UpdateItem"], resources = ["arn:aws:dynamodb:${var.region}:${local.account_id}:table/${local.name}-rate_limits"] }

  # The user of PostgreSQL for the functions. `Settings.application_user` in gameserver/runtime/settings.py makes an equal
  # name, and the function `migrate` creates the user. The name contains the environment, so that the policy below allows
  # no log-in at the database of another environment in this account. The policy does not name the id of the cluster, because
  # AWS makes the id at the apply, and the plan shows complete IAM policies.
  application_user = replace("${local.name}_app", "-", "_")
  # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.IAMPolicy.html
  database_log_in = {
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:${var.region}:${local.account_id}:dbuser:*/${local.application_user}"]
  }
}

data "aws_ec2_managed_prefix_list" "cloudfront" {
  name = "com.amazonaws.global.cloudfront.origin-facing"
}

module "functions" {
  source = "../../modules/functions"

  account_id         = local.account_id
  kms_key_arn        = module.keys.arns["storage"]
  log_retention_days = var.log_retention_days
  name               = local.name
  network            = local.private_subnets
  package            = var.functions.package
  region             = var.region

  functions = {
    api = {
      environment          = merge(local.storage_settings, local.state_settings, local.edge_settings)
      handler              = "gameserver.functions.lambda_handlers.api"
      reserved_concurrency = var.functions.reserved_concurrency.api
      statements = merge(local.tables_of_api, {
        CacheLogIn         = local.cache_log_in
        DatabaseLogIn      = local.database_log_in
        DistributionPasses = local.distribution_passes
        KeyUse             = local.key_use
        StateLogIn         = local.state_log_in
      })
      vpc = true
    }
    # The function `auth` creates accounts and logs players in by Cognito's operations for servers, which need IAM
    # permissions. The operations for tokens need none, and the firewall of the stack `foundation` allows no other
    # operations without permissions (docs/decisions/0023). KMS makes the codes that `auth` sends to players by SES
    # (docs/decisions/0020). The role of `auth` may also update the table `players`, in which `auth` stores the name
    # that a new player chose. All instances of `auth` count the calls of a caller in the table `rate_limits`.
    auth = {
      environment = merge(
        { for name in ["CLIENT_ID", "ENVIRONMENT", "ISSUER", "JWKS_URL", "PROJECT", "REGION"] : "GAMESERVER_${name}" => local.settings["GAMESERVER_${name}"] },
        { for name in ["DATA_KEY_ARN", "TABLES"] : "GAMESERVER_${name}" => local.storage_settings["GAMESERVER_${name}"] },
        {
          GAMESERVER_CODE_KEY_ARN           = var.foundation.identity.code_key_arn
          GAMESERVER_MAIL_CONFIGURATION_SET = var.foundation.identity.sender.configuration_set
          GAMESERVER_MAIL_SENDER            = var.foundation.identity.sender.address
          GAMESERVER_USER_POOL_ID           = var.foundation.identity.user_pool_id
        },
        local.edge_settings,
      )
      handler              = "gameserver.functions.lambda_handlers.auth"
      memory_mb            = 256
      reserved_concurrency = var.functions.reserved_concurrency.auth
      statements = {
        Accounts = {
          actions = [
            "cognito-idp:AdminConfirmSignUp", "cognito-idp:AdminCreateUser", "cognito-idp:AdminDeleteUser", "cognito-idp:AdminGetUser",
            "cognito-idp:AdminSetUserMFAPreference", "cognito-idp:AdminSetUserPassword", "cognito-idp:AdminUpdateUserAttributes",
            "cognito-idp:AdminUserGlobalSignOut",
            "cognito-idp:DescribeUserPool",
          ]
          resources = [var.foundation.identity.user_pool_arn]
        }
        Codes              = { actions = ["kms:GenerateMac"], resources = [var.foundation.identity.code_key_arn] }
        DistributionPasses = local.distribution_passes
        # The primary region's secret is encrypted with the key `storage`, and the replicas with a key of AWS.
        # https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
        DistributionPassesKey = {
          actions   = ["kms:Decrypt"]
          condition = { test = "StringEquals", values = ["secretsmanager.${var.region}.amazonaws.com"], variable = "kms:ViaService" }
          resources = [module.keys.arns["storage"]]
        }
        LogIn = { actions = ["cognito-idp:AdminInitiateAuth", "cognito-idp:AdminRespondToAuthChallenge"], resources = [var.foundation.identity.user_pool_arn] }
        # https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html
        Mail = {
          actions   = ["ses:SendEmail"]
          condition = { test = "StringEquals", values = [var.foundation.identity.sender.address], variable = "ses:FromAddress" }
          resources = [var.foundation.identity.sender.identity_arn, local.mail_configuration_set]
        }
        Passes = {
          actions   = ["kms:Decrypt"]
          condition = local.pass_condition
          resources = [module.keys.arns["data"]]
        }
        PlayerName = { actions = ["dynamodb:UpdateItem"], resources = [local.tables["players"].arn] }
        RateLimits = local.rate_limits
      }
    }
    # `mjctl deploy` invokes the function `migrate` in the region of the database's writer. Every region has the function,
    # because a failover moves the writer to another region. Only `migrate` is the master user. `migrate` creates the user
    # of the other functions.
    migrate = {
      environment = merge(
        { for name in ["ENVIRONMENT", "PROJECT", "REGION", "TLS_REQUIRED"] : "GAMESERVER_${name}" => local.settings["GAMESERVER_${name}"] },
        { for name in ["NAME", "PORT"] : "GAMESERVER_DATABASE_${name}" => local.storage_settings["GAMESERVER_DATABASE_${name}"] },
        {
          GAMESERVER_DATABASE_HOST   = module.database.writer_endpoint
          GAMESERVER_DATABASE_SECRET = local.database_secret_arn
          GAMESERVER_DATABASE_USER   = var.foundation.database.username
        },
      )
      handler = "gameserver.functions.lambda_handlers.migrate"
      # Two deploys at once both get an answer: the second waits in the database until the first has finished.
      reserved_concurrency = 2
      statements = {
        MasterSecret = { actions = ["secretsmanager:GetSecretValue"], resources = [local.database_secret_arn] }
        # From the second run on, Aurora accepts no password of the master user (gameserver/persistence/migrate.py).
        MasterLogIn = {
          actions   = ["rds-db:connect"]
          resources = ["arn:aws:rds-db:${var.region}:${local.account_id}:dbuser:*/${var.foundation.database.username}"]
        }
      }
      timeout_seconds = 300
      vpc             = true
    }
    persistence = {
      environment          = merge(local.storage_settings, { GAMESERVER_PERSISTENCE_QUEUE_URL = module.events.queues["persistence"].url })
      handler              = "gameserver.functions.lambda_handlers.persistence"
      queue                = { arn = module.events.queues["persistence"].arn }
      reserved_concurrency = var.functions.reserved_concurrency.persistence
      statements = merge(local.tables_of_persistence, {
        CacheLogIn    = local.cache_log_in
        DatabaseLogIn = local.database_log_in
        KeyUse        = local.key_use
      })
      vpc = true
    }
  }
}

module "api" {
  source = "../../modules/api"

  certificate_arn    = module.certificate.arn
  domain_name        = "api.${var.foundation.dns.domain}"
  jwt                = { audience = var.foundation.identity.client_id, issuer = var.foundation.identity.issuer }
  kms_key_arn        = module.keys.arns["storage"]
  log_retention_days = var.log_retention_days
  name               = local.name

  regional_domain_name = local.api_host

  routes = {
    "GET /v1/leaderboard"           = { authorized = false, target = "api" }
    "GET /v1/matches/{match_id}"    = { authorized = true, target = "api" }
    "GET /v1/profile"               = { authorized = true, target = "api" }
    "GET /v1/second-factor"         = { authorized = true, target = "auth" }
    "POST /v1/confirm"              = { authorized = false, target = "auth" }
    "POST /v1/confirm/resend"       = { authorized = false, target = "auth" }
    "POST /v1/login"                = { authorized = false, target = "auth" }
    "POST /v1/login/second-factor"  = { authorized = false, target = "auth" }
    "POST /v1/logout"               = { authorized = false, target = "auth" }
    "POST /v1/logout/everywhere"    = { authorized = true, target = "auth" }
    "POST /v1/matches"              = { authorized = true, target = "api" }
    "POST /v1/password/forgot"      = { authorized = false, target = "auth" }
    "POST /v1/password/reset"       = { authorized = false, target = "auth" }
    "POST /v1/refresh"              = { authorized = false, target = "auth" }
    "POST /v1/second-factor"        = { authorized = true, target = "auth" }
    "POST /v1/second-factor/remove" = { authorized = true, target = "auth" }
    "POST /v1/second-factor/verify" = { authorized = true, target = "auth" }
    "POST /v1/signup"               = { authorized = false, target = "auth" }
    "PUT /v1/profile"               = { authorized = true, target = "api" }
  }
  targets = { for name in ["api", "auth"] : name => { function_name = module.functions.names[name], invoke_arn = module.functions.invoke_arns[name] } }
}

# mjctl and its load tests reach the API of this region by the host name `api-<region>`, also while DNS gives the region to
# no player.
resource "aws_route53_record" "regional_api" {
  zone_id = var.foundation.dns.zone_id
  name    = local.api_host
  type    = "A"

  alias {
    evaluate_target_health = true
    name                   = module.api.dns["regional"].name
    zone_id                = module.api.dns["regional"].zone_id
  }
}

module "operations_access" {
  source = "../../modules/operations_access"

  account_id = local.account_id
  cache_statements = {
    CacheLogIn = { actions = ["elasticache:Connect"], resources = [module.cache.arn, module.cache.user_arns["ops"]] }
    StateLogIn = { actions = ["elasticache:Connect"], resources = [module.state.arn, module.state.user_arns["ops"]] }
  }
  environment = {
    GAMESERVER_CACHE_SECRET  = "iam:${module.cache.replication_group_id}"
    GAMESERVER_CACHE_URL     = "rediss://${module.cache.user_names["ops"]}@${module.cache.endpoint}:6379"
    GAMESERVER_ENVIRONMENT   = var.foundation.environment
    GAMESERVER_PROJECT       = var.foundation.project
    GAMESERVER_REGION        = var.region
    GAMESERVER_STATE_CLUSTER = "true"
    GAMESERVER_STATE_SECRET  = "iam:${module.state.replication_group_id}"
    GAMESERVER_STATE_URL     = "rediss://${module.state.user_names["ops"]}@${module.state.endpoint}:6379"
    GAMESERVER_TLS_REQUIRED  = "true"
  }
  handler     = "gameserver.functions.lambda_handlers.ops"
  kms_key_arn = module.keys.arns["storage"]
  name        = local.name
  network     = local.private_subnets
  operators   = var.operators
  package     = var.functions.package
  pass        = { condition = local.pass_condition, key_arn = module.keys.arns["data"] }
  region      = var.region
  state       = var.state

  user_pool_arn = var.foundation.identity.user_pool_arn
}

module "observability" {
  source = "../../modules/observability"

  account_id    = local.account_id
  api_id        = module.api.api_id
  backup_vault  = module.backup.vault_name
  cache_members = module.cache.member_ids
  state_members = module.state.member_ids
  database      = { cluster_id = module.database.cluster_id, secondary = !local.is_primary }
  dead_letter_queues = merge(
    { for key in keys(local.data_plane.queues) : key => "${local.name}-${key}-dlq" },
    { for name, queue in module.functions.dead_letter_queues : "function-${name}" => queue },
    { function-ops = module.operations_access.dead_letter_queue },
  )
  event_log_group = module.functions.log_groups["persistence"]
  functions       = merge(module.functions.names, { ops = module.operations_access.function_name })
  game = {
    cluster_name  = module.game_service.cluster_name
    load_balancer = module.game_service.load_balancer.arn_suffix
    minimum_tasks = module.game_service.minimum_tasks
    service_name  = module.game_service.service_name
    target_group  = module.game_service.target_group_arn_suffix
  }
  kms_key_arn    = module.keys.arns["storage"]
  name           = local.name
  notify_emails  = var.notify_emails
  queues         = { for key in keys(local.data_plane.queues) : key => "${local.name}-${key}" }
  region         = var.region
  tables         = { for key, table in local.tables : key => table.name }
  web_acl_metric = module.firewall.metric
}
