output "contract" {
  description = "Contract of the edge: the URLs for players, the distribution, the key value store of the distribution's pass, and the bucket to which mjctl publishes the web client."
  value = {
    version         = 1
    project         = var.foundation.project
    environment     = var.foundation.environment
    target          = var.foundation.target
    distribution_id = module.edge.distribution.id
    endpoints       = module.edge.urls
    pass_store_arn  = module.edge.pass_store_arn
    regions         = sort(keys(var.regions))
    web_bucket      = module.edge.web_bucket
  }
}
