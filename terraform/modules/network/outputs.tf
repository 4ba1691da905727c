output "cidr" {
  description = "IPv4 range of the VPC."
  value       = aws_vpc.main.cidr_block
}

output "data_subnet_ids" {
  description = "Subnets without a route out, by zone: databases and caches."
  value       = { for zone in var.zones : zone => aws_subnet.data[zone].id }
}

output "private_subnet_ids" {
  description = "Subnets that reach out through NAT, by zone: game servers and functions."
  value       = { for zone in var.zones : zone => aws_subnet.private[zone].id }
}

output "public_subnet_ids" {
  description = "Subnets with a route to the internet, by zone: load balancers only."
  value       = { for zone in var.zones : zone => aws_subnet.public[zone].id }
}

output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.main.id
}
