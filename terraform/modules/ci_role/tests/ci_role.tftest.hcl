mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  account_id   = "123456789012"
  kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name         = "arena-prod"
  regions      = ["us-east-1", "eu-west-1"]
  state_bucket = "arena-terraform-state-123456789012"
  subjects     = { deploy = ["repo:studio/arena:environment:prod"], plan = ["repo:studio/arena:pull_request"] }
}

run "separates_reading_from_changing" {
  command = plan

  assert {
    condition     = aws_iam_role_policy_attachment.plan.policy_arn == "arn:aws:iam::aws:policy/ReadOnlyAccess" && keys(aws_iam_role.ci) == ["deploy", "plan"]
    error_message = "The role plan reads, the role deploy changes."
  }
}

run "refuses_a_wildcard_subject" {
  command = plan

  variables {
    subjects = { deploy = ["repo:*:ref:refs/heads/main"], plan = [] }
  }

  expect_failures = [var.subjects]
}

run "refuses_to_let_nobody_deploy" {
  command = plan

  variables {
    subjects = { deploy = [], plan = [] }
  }

  expect_failures = [var.subjects]
}
