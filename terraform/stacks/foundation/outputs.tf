output "contract" {
  description = "Contract of the foundation: the input `foundation` of the stacks region and edge."
  value = {
    version        = 1
    account_id     = var.account_id
    project        = var.project
    environment    = var.environment
    target         = var.target
    primary_region = var.primary_region
    ci_role_arns   = var.ci == null ? {} : module.ci_role[0].role_arns
    database = {
      database_name     = module.database_global.database_name
      engine_version    = module.database_global.engine_version
      global_cluster_id = module.database_global.global_cluster_id
      password_version  = module.database_global.password_version
      secret_arn        = module.database_global.secret_arn
      username          = module.database_global.username
    }
    dns = {
      certificate_arn = module.certificate.arn
      domain          = var.domain.name
      name_servers    = module.dns.name_servers
      zone_id         = module.dns.zone_id
    }
    identity = {
      client_id     = module.identity.client_id
      code_key_arn  = module.code_key.arns["codes"]
      issuer        = module.identity.issuer
      jwks_url      = module.identity.jwks_url
      sender        = module.mail.sender
      user_pool_arn = module.identity.user_pool_arn
      user_pool_id  = module.identity.user_pool_id
    }
    keys = module.keys.arns
    registry = {
      repository_name = module.registry.repository_name
      repository_url  = module.registry.repository_url
    }
    tables = module.match_store.tables
  }
}
