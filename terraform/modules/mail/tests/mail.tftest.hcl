# A mock provider of Terraform returns no DKIM tokens in a plan. The tests of this module use the real AWS provider, which
# tests/terraform points to an emulated AWS.
provider "aws" {
  region = "us-east-1"
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  domain  = "arena.example.com"
  name    = "arena-prod"
  zone_id = "Z0123456789ABCDEFGHIJ"
}

run "suppresses_addresses_that_refuse_mail" {
  command = plan

  assert {
    condition     = aws_sesv2_configuration_set.players.suppression_options[0].suppressed_reasons == tolist(["BOUNCE", "COMPLAINT"])
    error_message = "SES must not send mail again to an address that refused a mail."
  }
}

run "publishes_the_records_of_the_sender" {
  command = plan

  assert {
    condition     = length(aws_route53_record.dkim) == 3 && aws_route53_record.dmarc.name == "_dmarc.arena.example.com"
    error_message = "The zone must have three DKIM records and the DMARC record."
  }
}
