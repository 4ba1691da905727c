mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mocked" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id      = "123456789012"
  bucket          = "arena-prod-eu-west-1-123456789012-backups"
  cluster_name    = "arena-prod"
  data_key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/mrk-fedcba9876543210fedcba9876543210"
  database_user   = "arena_prod_backup"
  environment     = { GAMESERVER_PROJECT = "arena" }
  image           = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/arena-prod/game@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name            = "arena-prod"
  network         = { cidr = "10.20.0.0/16", vpc_id = "vpc-0123456789abcdef0" }
  region          = "eu-west-1"
  repository_name = "arena-prod/game"
  table_arns      = ["arn:aws:dynamodb:eu-west-1:123456789012:table/arena-prod-matches"]
}

run "has_time_to_clean_up_and_a_read_only_root" {
  command = apply

  assert {
    condition     = jsondecode(aws_ecs_task_definition.task.container_definitions)[0].stopTimeout == 120
    error_message = "A stopped task must have 120 seconds to remove its scratch copy."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.task.container_definitions)[0].readonlyRootFilesystem
    error_message = "The root file system of the container must be read-only."
  }
}

run "opens_only_the_ports_of_aws_and_of_the_database" {
  command = plan

  assert {
    condition     = { for name, rule in aws_vpc_security_group_egress_rule.task : name => [rule.cidr_ipv4, rule.from_port] } == { aws = ["0.0.0.0/0", 443], database = ["10.20.0.0/16", 5432] }
    error_message = "The task must reach AWS's services and the database, and nothing else."
  }
}

run "rejects_another_user_of_the_database" {
  command = plan

  variables {
    database_user = "arena_prod_app"
  }

  expect_failures = [var.database_user]
}

run "rejects_an_image_with_a_tag" {
  command = plan

  variables {
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/arena-prod/game:latest"
  }

  expect_failures = [var.image]
}
