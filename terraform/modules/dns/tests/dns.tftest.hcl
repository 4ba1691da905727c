mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  domain = "arena.example.com"
}

run "makes_a_zone" {
  command = plan

  assert {
    condition     = length(aws_route53_zone.main) == 1
    error_message = "A domain without a zone gets one."
  }
}

run "uses_a_zone_that_exists" {
  command = plan

  variables {
    zone_id = "Z0123456789ABCDEFGHIJ"
  }

  assert {
    condition     = length(aws_route53_zone.main) == 0 && output.zone_id == "Z0123456789ABCDEFGHIJ" && length(output.name_servers) == 0
    error_message = "Nothing is made, and nothing is to be delegated."
  }
}

run "refuses_a_domain_in_capitals" {
  command = plan

  variables {
    domain = "Arena.Example.com"
  }

  expect_failures = [var.domain]
}
