output "contract" {
  description = "What mjctl knows of this region; the same shape for every target (mjctl/models/contract.py)."
  value = {
    version     = 1
    project     = var.foundation.project
    environment = var.foundation.environment
    target      = var.foundation.target
    region      = var.region
    zones       = var.network.zones
    aws         = { account_id = local.account_id, endpoint_url = var.aws_endpoint_url }
    endpoints   = { api = "https://api.${var.foundation.dns.domain}" }
    cache = {
      access           = "ops_function"
      ops_function_arn = module.operations_access.function_arn
      secret           = "iam:${module.cache.replication_group_id}"
      url              = "rediss://${module.cache.user_names["ops"]}@${module.cache.endpoint}:6379"
    }
    database = {
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
    fleet    = { kind = "ecs", cluster = module.game_service.cluster_name, service = module.game_service.service_name }
    backup   = { vault_name = module.backup.vault_name }
  }
}

output "edge" {
  description = "This region's part of the input `regions` of the stack edge."
  value = {
    api           = module.api.dns
    health_alarm  = module.observability.health_alarm
    load_balancer = { for name in ["arn", "dns_name", "zone_id"] : name => module.game_service.load_balancer[name] }
  }
}

output "rollout" {
  description = "Task definition that the service should run once applied. A roll-out that the circuit breaker took back ends steady too, and Terraform calls it done: mjctl compares."
  value = {
    cluster         = module.game_service.cluster_name
    service         = module.game_service.service_name
    task_definition = module.game_service.task_definition_arn
  }
}
