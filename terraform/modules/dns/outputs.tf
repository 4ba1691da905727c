output "name_servers" {
  description = "Name servers to which the parent zone must delegate. The list of name servers is empty if `zone_id` was given."
  value       = length(aws_route53_zone.main) == 1 ? aws_route53_zone.main[0].name_servers : []
}

output "zone_id" {
  description = "Id of the hosted zone."
  value       = var.zone_id == null ? aws_route53_zone.main[0].zone_id : var.zone_id
}
