resource "aws_route53_zone" "main" {
  #checkov:skip=CKV2_AWS_38:signing needs the parent zone to publish a DS record, which only its owner can; a wrong order takes the domain down
  #checkov:skip=CKV2_AWS_39:queries tell which players are where and help nobody; health checks watch the answers
  count = var.zone_id == null ? 1 : 0

  name          = var.domain
  comment       = "Players of ${var.domain}"
  force_destroy = var.force_destroy
}
