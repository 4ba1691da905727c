mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README, but
# without subjects for drills.
variables {
  account_id   = "123456789012"
  kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name         = "arena-prod"
  regions      = ["us-east-1", "eu-west-1"]
  state_bucket = "arena-terraform-state-123456789012"
  subjects     = { deploy = ["repo:studio/arena:environment:prod"], plan = ["repo:studio/arena:pull_request"] }
}

run "makes_a_role_that_reads_and_a_role_that_changes" {
  command = plan

  assert {
    condition     = aws_iam_role_policy_attachment.plan.policy_arn == "arn:aws:iam::aws:policy/ReadOnlyAccess" && keys(aws_iam_role.ci) == ["deploy", "plan"]
    error_message = "The role `plan` must read, and the role `deploy` must change resources."
  }
}

run "makes_no_drill_role_without_subjects" {
  command = plan

  assert {
    condition     = length(aws_iam_policy.drill) == 0
    error_message = "Without subjects for drills there must be no role `drill`."
  }
}

run "lets_drills_delete_only_scratch_copies" {
  command = plan

  variables {
    subjects = { deploy = ["repo:studio/arena:environment:prod"], drill = ["repo:studio/arena:ref:refs/heads/main"], plan = [] }
  }

  assert {
    condition     = keys(aws_iam_role.ci) == ["deploy", "drill", "plan"] && keys(aws_iam_role_policy_attachment.state) == ["deploy", "plan"]
    error_message = "The role `drill` must exist without permission to write states."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.drill.statement :
      statement.sid == "ScratchCopies" ? tolist(statement.resources) == tolist(["arn:aws:dynamodb:*:123456789012:table/arena-prod-scratch.*"]) : !anytrue([for action in statement.actions : strcontains(action, "Delete") || strcontains(action, "Put")])
    ])
    error_message = "The role `drill` may write and delete only tables with a scratch name."
  }
}

run "accepts_the_subjects_of_gitlab" {
  command = plan

  variables {
    issuer   = "gitlab.com"
    subjects = { deploy = ["project_path:studio/arena:ref_type:branch:ref:main"], plan = ["project_path:studio/arena:ref_type:branch:ref:*"] }
  }

  assert {
    condition     = aws_iam_openid_connect_provider.ci.url == "https://gitlab.com"
    error_message = "The OIDC provider must have the URL of the given issuer."
  }
}

run "rejects_a_wildcard_subject_for_drills" {
  command = plan

  variables {
    subjects = { deploy = ["repo:studio/arena:environment:prod"], drill = ["repo:*:pull_request"], plan = [] }
  }

  expect_failures = [var.subjects]
}

run "rejects_a_wildcard_subject" {
  command = plan

  variables {
    subjects = { deploy = ["repo:*:ref:refs/heads/main"], plan = [] }
  }

  expect_failures = [var.subjects]
}

run "rejects_an_empty_list_of_deploy_subjects" {
  command = plan

  variables {
    subjects = { deploy = [], plan = [] }
  }

  expect_failures = [var.subjects]
}
