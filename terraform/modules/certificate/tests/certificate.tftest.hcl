mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  names        = ["play-eu-west-1.arena.example.com", "play.arena.example.com"]
  shared_names = ["play.arena.example.com"]
  zone_id      = "Z0123456789ABCDEFGHIJ"
}

run "makes_no_validation_record_for_a_shared_name" {
  command = plan

  assert {
    condition     = keys(aws_route53_record.validation) == ["play-eu-west-1.arena.example.com"]
    error_message = "Only names that are not shared may get a validation record."
  }
}

run "rejects_a_shared_name_that_the_certificate_lacks" {
  command = plan

  variables {
    shared_names = ["elsewhere.example.com"]
  }

  expect_failures = [var.shared_names]
}
