locals {
  zones = { for index, zone in var.zones : zone => index }

  # Each private subnet is one sixteenth of the VPC's range, from number 0 on. Each public or data subnet is one
  # sixty-fourth of the VPC's range: the public subnets from number 32 on, and the data subnets from number 48 on. No
  # two subnets overlap.
  private_cidrs = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 4, index) }
  public_cidrs  = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 6, 32 + index) }
  data_cidrs    = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 6, 48 + index) }

  nat_zones = var.nat == "per_zone" ? local.zones : { (var.zones[0]) = 0 }
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# The default security group of the VPC gets no rules, so that a resource without a security group cannot communicate.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-closed" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = local.public_cidrs[each.key]

  tags = { Name = "${var.name}-public-${each.key}", Tier = "public" }
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = local.private_cidrs[each.key]

  tags = { Name = "${var.name}-private-${each.key}", Tier = "private" }
}

resource "aws_subnet" "data" {
  for_each = local.zones

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = local.data_cidrs[each.key]

  tags = { Name = "${var.name}-data-${each.key}", Tier = "data" }
}
