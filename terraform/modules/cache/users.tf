# ElastiCache requires a user named `default` in every user group. The `default` user that AWS provides may run every
# Redis command without a password. aws_elasticache_user.default replaces AWS's user with a `default` user that is
# switched off.
resource "aws_elasticache_user" "default" {
  user_id       = "${local.prefix}-default"
  user_name     = "default"
  access_string = "off ~keys* -@all +get"
  engine        = "redis"

  # ElastiCache requires either a password or `no_password_required` for a user. A user that is switched off needs no
  # password.
  no_password_required = true
}

# ElastiCache requires that the id and the name of a user with IAM log-in are equal.
resource "aws_elasticache_user" "iam" {
  for_each = var.users

  user_id       = "${local.prefix}-${each.key}"
  user_name     = "${local.prefix}-${each.key}"
  access_string = each.value.access
  engine        = "redis"

  authentication_mode {
    type = "iam"
  }
}

resource "aws_elasticache_user_group" "main" {
  user_group_id = local.id
  engine        = "redis"
  user_ids      = concat([aws_elasticache_user.default.user_id], [for user in aws_elasticache_user.iam : user.user_id])
}

resource "aws_security_group" "main" {
  name        = local.is_state ? local.id : "${local.id}-cache"
  description = "Redis, from its named clients"
  vpc_id      = var.vpc_id

  tags = { Name = local.is_state ? local.id : "${local.id}-cache" }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.allowed_security_groups

  security_group_id            = aws_security_group.main.id
  description                  = "Redis from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}
