output "cidr" {
  description = "IPv4 range of the VPC."
  value       = aws_vpc.main.cidr_block
}

output "data_subnet_ids" {
  description = "Ids of the data subnets by zone, for databases and caches. Data subnets have no route to the internet."
  value       = { for zone in var.zones : zone => aws_subnet.data[zone].id }
}

output "private_subnet_ids" {
  description = "Ids of the private subnets by zone, for game servers and functions. Private subnets reach the internet through NAT."
  value       = { for zone in var.zones : zone => aws_subnet.private[zone].id }
}

output "public_subnet_ids" {
  description = "Ids of the public subnets by zone, for load balancers. Public subnets have a route to the internet."
  value       = { for zone in var.zones : zone => aws_subnet.public[zone].id }
}

output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.main.id
}
