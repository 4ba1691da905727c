output "api_id" {
  description = "The API, for alarms."
  value       = aws_apigatewayv2_api.http.id
}

output "dns" {
  description = "What an alias record of domain_name points to in this region."
  value = {
    name    = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].hosted_zone_id
  }
}
