resource "aws_route53_zone" "main" {
  #checkov:skip=CKV2_AWS_38:Signing needs a DS record in the parent zone. Signing without that record makes the domain unreachable.

  #checkov:skip=CKV2_AWS_39:A query log would record the locations of players. Health checks already monitor the answers.
  count = var.zone_id == null ? 1 : 0

  name          = var.domain
  comment       = "Players of ${var.domain}"
  force_destroy = var.force_destroy
}
