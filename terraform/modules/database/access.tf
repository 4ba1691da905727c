resource "aws_security_group" "main" {
  name        = "${local.identifier}-database"
  description = "PostgreSQL, from its named clients"
  vpc_id      = var.vpc_id

  tags = { Name = "${local.identifier}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.allowed_security_groups

  security_group_id            = aws_security_group.main.id
  description                  = "PostgreSQL from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  name               = "${local.identifier}-db-monitor"
  assume_role_policy = data.aws_iam_policy_document.monitoring_trust.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
