mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# The values of the README's example, except where a run says otherwise.
variables {
  account_id  = "123456789012"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name        = "arena-prod"
  queues      = yamldecode(file("../data_plane/data-plane.yaml")).queues
  region      = "eu-west-1"
  topics      = yamldecode(file("../data_plane/data-plane.yaml")).topics
}

run "gives_every_queue_its_dead_letters" {
  command = plan

  assert {
    condition     = keys(aws_sqs_queue.dead_letter) == keys(aws_sqs_queue.queue)
    error_message = "Each queue has a dead-letter queue."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letter["persistence"].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-west-1:123456789012:arena-prod-persistence"]
    error_message = "A dead-letter queue takes messages from its own queue alone."
  }

  assert {
    condition     = aws_sns_topic_subscription.queue["events-persistence"].raw_message_delivery
    error_message = "The subscription of data-plane.yaml is made."
  }
}

run "refuses_dead_letters_that_vanish" {
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

run "refuses_a_subscription_to_nothing" {
  command = plan

  variables {
    topics = { events = { subscriptions = [{ queue = "nowhere" }] } }
  }

  expect_failures = [var.topics]
}
