resource "aws_route53_zone" "main" {
  #checkov:skip=CKV2_AWS_38:DNSSEC needs a DS record in the parent zone, which this module cannot create. DNSSEC signatures without a DS record protect no player.

  #checkov:skip=CKV2_AWS_39:A log of DNS queries would record from which networks players connect. `mjctl health` already checks the answers of DNS.
  count = var.zone_id == null ? 1 : 0

  name          = var.domain
  comment       = "Players of ${var.domain}"
  force_destroy = var.force_destroy
}
