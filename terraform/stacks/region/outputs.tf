output "contract" {
  description = "Contract of the region: everything that mjctl knows of the region, in the same form for every target. mjctl/models/contract.py defines the type of the contract."
  value = {
    version     = 1
    project     = var.foundation.project
    environment = var.foundation.environment
    target      = var.foundation.target
    region      = var.region
    zones       = var.network.zones
    aws = {
      account_id            = local.account_id
      endpoint_url          = one(var.emulated_aws[*].endpoint_url)
      secret                = one(var.emulated_aws[*].secret)
      service_endpoint_urls = var.emulated_aws == null ? {} : var.emulated_aws.service_endpoint_urls
    }
    ca_file    = one(local.stage[*].ca_file)
    names_file = one(local.stage[*].names_file)
    endpoints = {
      api    = "https://${local.api_host}"
      served = var.emulated_aws == null || local.stage != null
    }
    state = {
      access           = "ops_function"
      ops_function_arn = module.operations_access.function_arn
      secret           = "iam:${module.state.replication_group_id}"
      url              = "rediss://${module.state.user_names["ops"]}@${module.state.endpoint}:6379"
    }
    cache = {
      access           = "ops_function"
      ops_function_arn = module.operations_access.function_arn
      secret           = "iam:${module.cache.replication_group_id}"
      url              = "rediss://${module.cache.user_names["ops"]}@${module.cache.endpoint}:6379"
    }
    database = {
      access = "private"
      host   = module.database.endpoint
      name   = var.foundation.database.database_name
      port   = module.database.port
      secret = local.database_secret_arn
      tls    = true
      user   = var.foundation.database.username
    }
    tables   = local.tables
    topics   = module.events.topics
    queues   = module.events.queues
    identity = { for name in ["client_id", "issuer", "jwks_url", "user_pool_id"] : name => var.foundation.identity[name] }
    keys     = module.keys.arns
    backup = {
      bucket     = module.backups.id
      vault_name = module.backup.vault_name
      task = {
        container       = module.backup_task.container
        database_host   = module.database.endpoint
        database_user   = local.backup_user
        log_group       = module.backup_task.log_group
        security_group  = module.backup_task.security_group_id
        subnets         = local.private_subnets.subnet_ids
        task_definition = module.backup_task.task_definition_arn
      }
    }
    fleet = {
      kind            = "ecs"
      cluster         = module.game_service.cluster_name
      log_group       = module.game_service.log_group
      service         = module.game_service.service_name
      task_definition = module.game_service.task_definition_arn
    }
    managed = {
      alarm_prefix            = "${local.name}-"
      alarm_topic             = module.observability.alarm_topic
      api_id                  = module.api.api_id
      cache_group             = module.cache.replication_group_id
      certificate             = module.certificate.arn
      database_cluster        = module.database.cluster_id
      database_global_cluster = var.foundation.database.global_cluster_id
      dead_letter_queues      = merge(module.functions.dead_letter_queues, { ops = module.operations_access.dead_letter_queue })
      functions               = merge(module.functions.names, { ops = module.operations_access.function_name })
      load_balancer           = module.game_service.load_balancer.arn
      primary_region          = var.foundation.primary_region
      state_group             = module.state.replication_group_id
      target_group            = module.game_service.target_group_arn
      web_acl                 = module.firewall.arn
      web_domain              = var.foundation.dns.domain
    }
  }
}

output "edge" {
  description = "This region's entry in the input `regions` of the stack edge."
  value = {
    api           = module.api.dns["shared"]
    health_alarm  = module.observability.health_alarm
    load_balancer = { for name in ["arn", "dns_name", "zone_id"] : name => module.game_service.load_balancer[name] }
  }
}

output "rollout" {
  description = "Task definition that the service should run after an apply. Terraform reports success even if ECS's circuit breaker rolled the service back, so mjctl compares this task definition with the running tasks."
  value = {
    cluster         = module.game_service.cluster_name
    service         = module.game_service.service_name
    task_definition = module.game_service.task_definition_arn
  }
}
