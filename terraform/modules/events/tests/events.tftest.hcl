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
  queues      = yamldecode(file("../data_plane/data-plane.yaml")).queues
  region      = "eu-west-1"
  topics      = yamldecode(file("../data_plane/data-plane.yaml")).topics
}

run "makes_a_dead_letter_queue_for_every_queue" {
  command = plan

  assert {
    condition     = keys(aws_sqs_queue.dead_letter) == keys(aws_sqs_queue.queue)
    error_message = "Each queue must have a dead-letter queue."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letter["persistence"].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-west-1:123456789012:arena-prod-persistence"]
    error_message = "A dead-letter queue must accept messages only from its queue."
  }

  assert {
    condition     = aws_sns_topic_subscription.queue["events-persistence"].raw_message_delivery
    error_message = "The subscription in data-plane.yaml must be created."
  }
}

run "rejects_a_dead_letter_retention_that_is_too_short" {
  command = plan

  variables {
    queues = {
      persistence = {
        dead_letter_retention_seconds = 60
        max_receive_count             = 5
        receive_wait_seconds          = 20
        retention_seconds             = 60
        visibility_timeout_seconds    = 60
      }
    }
  }

  expect_failures = [var.queues]
}

run "rejects_a_subscription_to_an_unknown_queue" {
  command = plan

  variables {
    topics = { events = { subscriptions = [{ queue = "nowhere" }] } }
  }

  expect_failures = [var.topics]
}
