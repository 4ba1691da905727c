output "queues" {
  description = "Queues by their key in data-plane.yaml, in the form that the contract has."
  value = {
    for key, queue in aws_sqs_queue.queue : key => {
      arn               = local.queue_arns[key]
      dead_letter       = { arn = aws_sqs_queue.dead_letter[key].arn, url = aws_sqs_queue.dead_letter[key].url }
      max_receive_count = var.queues[key].max_receive_count
      url               = queue.url
    }
  }
}

output "topics" {
  description = "ARNs of the topics by their key in data-plane.yaml."
  value       = { for key in keys(aws_sns_topic.topic) : key => local.topic_arns[key] }
}
