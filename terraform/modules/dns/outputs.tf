output "name_servers" {
  description = "What the parent zone delegates to; empty when the zone was given."
  value       = length(aws_route53_zone.main) == 1 ? aws_route53_zone.main[0].name_servers : []
}

output "zone_id" {
  description = "The hosted zone."
  value       = var.zone_id == null ? aws_route53_zone.main[0].zone_id : var.zone_id
}
