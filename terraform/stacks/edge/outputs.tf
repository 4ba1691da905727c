output "contract" {
  description = "What the environment publishes to players, and where the web client goes."
  value = {
    version         = 1
    project         = var.foundation.project
    environment     = var.foundation.environment
    target          = var.foundation.target
    distribution_id = module.edge.distribution.id
    endpoints       = module.edge.urls
    regions         = sort(keys(var.regions))
    web_bucket      = module.edge.web_bucket
  }
}
