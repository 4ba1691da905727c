# A mock provider of Terraform supports no ephemeral resources. The tests of this module use the real AWS provider,
# which tests/terraform points to an emulated AWS.
provider "aws" {
  region = "eu-west-1"
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  engine_version  = "16.8"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name            = "arena-prod"
  replica_regions = ["eu-west-1"]
}

run "makes_a_global_cluster_for_several_regions" {
  command = plan

  assert {
    condition     = length(aws_rds_global_cluster.global) == 1 && aws_rds_global_cluster.global[0].storage_encrypted
    error_message = "Two regions must share an encrypted global cluster."
  }
}

run "makes_no_global_cluster_for_a_single_region" {
  command = plan

  variables {
    replica_regions = []
  }

  assert {
    condition     = length(aws_rds_global_cluster.global) == 0 && output.global_cluster_id == null
    error_message = "An environment with one region must have no global cluster."
  }
}

run "rejects_an_old_engine_version" {
  command = plan

  variables {
    engine_version = "11.9"
  }

  expect_failures = [var.engine_version]
}
