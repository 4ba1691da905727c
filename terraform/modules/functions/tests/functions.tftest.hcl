mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id  = "123456789012"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name        = "arena-prod"
  package     = { path = "artefacts/functions.zip", sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  region      = "eu-west-1"

  functions = {
    auth = { handler = "gameserver.functions.lambda_handlers.auth", reserved_concurrency = 50 }
  }

  network = {
    cidr       = "10.20.0.0/16"
    subnet_ids = ["subnet-0a", "subnet-0b", "subnet-0c"]
    vpc_id     = "vpc-0123456789abcdef0"
  }
}

run "makes_a_dead_letter_queue_for_every_function" {
  command = plan

  assert {
    condition     = keys(aws_sqs_queue.dead_letter) == ["auth"] && aws_lambda_function.function["auth"].reserved_concurrent_executions == 50
    error_message = "A function must have a dead-letter queue and reserved concurrency."
  }

  assert {
    condition     = length(aws_security_group.function) == 0
    error_message = "A function outside the VPC must have no security group."
  }
}

run "consumes_a_queue_inside_the_vpc" {
  command = plan

  variables {
    functions = {
      persistence = {
        handler              = "a.b"
        queue                = { arn = "arn:aws:sqs:eu-west-1:123456789012:arena-prod-persistence" }
        reserved_concurrency = 20
        vpc                  = true
      }
    }
  }

  assert {
    condition     = aws_lambda_event_source_mapping.queue["persistence"].function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "A function that consumes a queue must report each failed message of a batch."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.function) == 3
    error_message = "A function in the VPC may open connections only to AWS, the cache and the database."
  }
}

run "rejects_more_consumers_than_reserved_concurrency" {
  command = plan

  variables {
    functions = { greedy = { handler = "a.b", queue = { arn = "arn:aws:sqs:eu-west-1:123456789012:q", max_concurrency = 50 }, reserved_concurrency = 5 } }
  }

  expect_failures = [var.functions]
}
