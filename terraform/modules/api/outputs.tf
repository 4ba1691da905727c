output "api_id" {
  description = "Id of the API, for alarms."
  value       = aws_apigatewayv2_api.http.id
}

output "dns" {
  description = "Target in this region for an alias record of `domain_name`: its DNS name and hosted zone."
  value = {
    name    = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].hosted_zone_id
  }
}
