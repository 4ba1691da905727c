mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id  = "123456789012"
  cidr        = "10.20.0.0/16"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name        = "arena-prod"
  region      = "eu-west-1"
  zones       = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
}

run "makes_a_subnet_of_every_tier_in_every_zone" {
  command = plan

  assert {
    condition     = length(aws_subnet.public) == 3 && length(aws_subnet.private) == 3 && length(aws_subnet.data) == 3
    error_message = "Every tier must have a subnet in every zone."
  }

  assert {
    condition     = length(distinct(concat(values(aws_subnet.public)[*].cidr_block, values(aws_subnet.private)[*].cidr_block, values(aws_subnet.data)[*].cidr_block))) == 9
    error_message = "No two subnets may have the same range."
  }

  assert {
    condition     = length(aws_nat_gateway.zone) == 3
    error_message = "Every zone must have a NAT gateway."
  }
}

run "makes_a_single_gateway_for_development" {
  command = plan

  variables {
    nat = "single"
  }

  assert {
    condition     = length(aws_nat_gateway.zone) == 1 && length(aws_route.nat) == 3
    error_message = "Every zone must have a route to the single NAT gateway."
  }
}

run "rejects_two_zones" {
  command = plan

  variables {
    zones = ["eu-west-1a", "eu-west-1b"]
  }

  expect_failures = [var.zones]
}

run "rejects_a_zone_of_another_region" {
  command = plan

  variables {
    zones = ["eu-west-1a", "eu-west-1b", "us-east-1a"]
  }

  expect_failures = [var.zones]
}

run "rejects_a_small_range" {
  command = plan

  variables {
    cidr = "10.20.0.0/24"
  }

  expect_failures = [var.cidr]
}
