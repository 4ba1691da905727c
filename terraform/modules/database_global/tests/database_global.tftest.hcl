# Mocks have no ephemeral resources: this suite asks a real provider, which the test points to an emulated AWS.
provider "aws" {
  region = "eu-west-1"
}

# The values of the README's example, except where a run says otherwise.
variables {
  engine_version  = "16.8"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name            = "arena-prod"
  replica_regions = ["eu-west-1"]
}

run "joins_regions" {
  command = plan

  assert {
    condition     = length(aws_rds_global_cluster.global) == 1 && aws_rds_global_cluster.global[0].storage_encrypted
    error_message = "Two regions share an encrypted global cluster."
  }
}

run "needs_no_global_cluster_in_one_region" {
  command = plan

  variables {
    replica_regions = []
  }

  assert {
    condition     = length(aws_rds_global_cluster.global) == 0 && output.global_cluster_id == null
    error_message = "One region stands alone."
  }
}

run "refuses_an_old_version" {
  command = plan

  variables {
    engine_version = "11.9"
  }

  expect_failures = [var.engine_version]
}
