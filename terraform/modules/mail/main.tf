# SES proves by the DKIM records that the domain's owner sends the mail. SES also verifies the domain by these records:
# https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-easy-managing.html
resource "aws_sesv2_email_identity" "domain" {
  email_identity = var.domain
}

# SES generates three tokens for a domain: https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-easy.html
resource "aws_route53_record" "dkim" {
  count = 3

  zone_id = var.zone_id
  name    = "${aws_sesv2_email_identity.domain.dkim_signing_attributes[0].tokens[count.index]}._domainkey.${var.domain}"
  records = ["${aws_sesv2_email_identity.domain.dkim_signing_attributes[0].tokens[count.index]}.dkim.amazonses.com"]
  type    = "CNAME"
  ttl     = 1800
}

# A receiver that checks DMARC quarantines mail that only claims to come from the domain.
resource "aws_route53_record" "dmarc" {
  zone_id = var.zone_id
  name    = "_dmarc.${var.domain}"
  records = ["v=DMARC1; p=quarantine; adkim=s"]
  type    = "TXT"
  ttl     = 1800
}

# SES sends no mail to an address that has refused a mail for good, or whose owner has complained. A further mail would
# damage the sender's reputation: https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html
resource "aws_sesv2_configuration_set" "players" {
  configuration_set_name = "${var.name}-players"

  delivery_options {
    tls_policy = "REQUIRE"
  }

  reputation_options {
    reputation_metrics_enabled = true
  }

  sending_options {
    sending_enabled = true
  }

  suppression_options {
    suppressed_reasons = ["BOUNCE", "COMPLAINT"]
  }
}

# Cognito refuses a sender whose identity SES has not verified, so a user pool waits for the verification.
resource "aws_ses_domain_identity_verification" "domain" {
  domain = aws_sesv2_email_identity.domain.email_identity

  depends_on = [aws_route53_record.dkim]
}
