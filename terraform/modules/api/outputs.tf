output "api_id" {
  description = "Id of the API, for alarms."
  value       = aws_apigatewayv2_api.http.id
}

output "dns" {
  description = "DNS name and hosted zone of the API in this region, to which an alias record of `domain_name` points."
  value = {
    name    = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.public.domain_name_configuration[0].hosted_zone_id
  }
}

output "regional_dns" {
  description = "DNS name and hosted zone of the API in this region, to which an alias record of `regional_domain_name` points."
  value = {
    name    = aws_apigatewayv2_domain_name.regional.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.regional.domain_name_configuration[0].hosted_zone_id
  }
}
