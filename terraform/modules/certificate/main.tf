resource "aws_acm_certificate" "main" {
  domain_name               = var.names[0]
  subject_alternative_names = slice(var.names, 1, length(var.names))
  validation_method         = "DNS"

  tags = { Name = var.names[0] }

  lifecycle {
    create_before_destroy = true
  }
}

# The keys of `for_each` come from the variables, because Terraform does not know the certificate's list of names before
# the certificate exists.
resource "aws_route53_record" "validation" {
  for_each = setsubtract(var.names, var.shared_names)

  zone_id = var.zone_id
  name    = one([for option in aws_acm_certificate.main.domain_validation_options : option.resource_record_name if option.domain_name == each.key])
  records = [one([for option in aws_acm_certificate.main.domain_validation_options : option.resource_record_value if option.domain_name == each.key])]
  type    = one([for option in aws_acm_certificate.main.domain_validation_options : option.resource_record_type if option.domain_name == each.key])
  ttl     = 300
}

resource "aws_acm_certificate_validation" "main" {
  certificate_arn = aws_acm_certificate.main.arn

  depends_on = [aws_route53_record.validation]
}
