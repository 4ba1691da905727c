mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  names        = ["play-eu-west-1.arena.example.com", "play.arena.example.com"]
  shared_names = ["play.arena.example.com"]
  zone_id      = "Z0123456789ABCDEFGHIJ"
}

run "leaves_shared_records_to_their_owner" {
  command = plan

  assert {
    condition     = keys(aws_route53_record.validation) == ["play-eu-west-1.arena.example.com"]
    error_message = "Only names of this stack get a record here."
  }
}

run "refuses_a_shared_name_it_does_not_have" {
  command = plan

  variables {
    shared_names = ["elsewhere.example.com"]
  }

  expect_failures = [var.shared_names]
}
