output "sender" {
  description = "Sender of the mail to players, for the module `identity` and the function `auth`. The value is available after SES has verified the domain."
  value = {
    address           = "no-reply@${aws_ses_domain_identity_verification.domain.id}"
    configuration_set = aws_sesv2_configuration_set.players.configuration_set_name
    identity_arn      = aws_sesv2_email_identity.domain.arn
  }
}
