output "api_id" {
  description = "Id of the API, for alarms."
  value       = aws_apigatewayv2_api.http.id
}

output "dns" {
  description = "DNS name and hosted zone of the API in this region, to which alias records lead: `shared` for `domain_name`, and `regional` for `regional_domain_name`."
  value = { for key, domain in aws_apigatewayv2_domain_name.main : key => {
    name    = domain.domain_name_configuration[0].target_domain_name
    zone_id = domain.domain_name_configuration[0].hosted_zone_id
  } }
}
