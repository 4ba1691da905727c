mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  domain = "arena.example.com"
}

run "makes_a_zone_for_a_domain_without_one" {
  command = plan

  assert {
    condition     = length(aws_route53_zone.main) == 1
    error_message = "A domain without a zone must get a zone."
  }
}

run "uses_the_given_zone" {
  command = plan

  variables {
    zone_id = "Z0123456789ABCDEFGHIJ"
  }

  assert {
    condition     = length(aws_route53_zone.main) == 0 && output.zone_id == "Z0123456789ABCDEFGHIJ" && length(output.name_servers) == 0
    error_message = "With a given zone, the module must create no zone and output no name servers."
  }
}

run "rejects_a_domain_with_capital_letters" {
  command = plan

  variables {
    domain = "Arena.Example.com"
  }

  expect_failures = [var.domain]
}
