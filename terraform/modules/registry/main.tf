resource "aws_ecr_repository" "game" {
  name                 = "${var.name}/game"
  force_delete         = var.force_delete
  image_tag_mutability = "IMMUTABLE"

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "game" {
  repository = aws_ecr_repository.game.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest ${var.kept_images}"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.kept_images }
      action       = { type = "expire" }
    }]
  })
}

# An account has one replication configuration in each region. The filter excludes the repositories of other
# environments and projects from the replication.
resource "aws_ecr_replication_configuration" "regions" {
  count = length(var.replica_regions) > 0 ? 1 : 0

  replication_configuration {
    rule {
      dynamic "destination" {
        for_each = var.replica_regions

        content {
          region      = destination.value
          registry_id = var.account_id
        }
      }

      repository_filter {
        filter      = "${var.name}/"
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}
