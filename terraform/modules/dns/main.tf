resource "aws_route53_zone" "main" {
  count = var.zone_id == null ? 1 : 0

  name          = var.domain
  comment       = "Players of ${var.domain}"
  force_destroy = var.force_destroy
}
