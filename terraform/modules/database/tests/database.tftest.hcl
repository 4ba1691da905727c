# A mock provider of Terraform supports no ephemeral resources. The tests of this module use the real AWS provider,
# which tests/terraform points to an emulated AWS.
provider "aws" {
  region = "eu-west-1"
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  allowed_security_groups = { api = "sg-0123456789abcdef0" }
  kms_key_arn             = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  maintenance_window      = "tue:05:00-tue:06:00"
  name                    = "arena-prod"
  region                  = "eu-west-1"
  subnet_ids              = { eu-west-1a = "subnet-0a", eu-west-1b = "subnet-0b", eu-west-1c = "subnet-0c" }
  vpc_id                  = "vpc-0123456789abcdef0"
}
# The run `secret` creates the secret from which Terraform reads the cluster's master password.
run "secret" {
  module {
    source = "../database_global"
  }

  variables {
    recovery_window_days = 0
    engine_version       = "16.8"
  }
}

run "spreads_instances_over_zones" {
  command = plan

  variables {
    global = {
      database_name    = "game"
      engine_version   = "16.8"
      password_version = 1
      secret_arn       = run.secret.secret_arn
      username         = "game"
    }
  }

  assert {
    condition     = length(distinct(values(aws_rds_cluster_instance.main)[*].availability_zone)) == 2
    error_message = "The two instances of a cluster must be in two zones."
  }

  assert {
    condition     = !aws_rds_cluster.main.skip_final_snapshot && aws_rds_cluster.main.deletion_protection
    error_message = "Deletion protection and a final snapshot must protect the cluster."
  }
}

run "joins_the_global_cluster_in_a_secondary_region" {
  command = plan

  variables {
    global = {
      database_name     = "game"
      engine_version    = "16.8"
      global_cluster_id = "arena-prod-global"
      password_version  = 1
      secret_arn        = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf"
      username          = "game"
    }
    role = "secondary"
  }

  assert {
    condition     = aws_rds_cluster.main.global_cluster_identifier == "arena-prod-global" && aws_rds_cluster.main.enable_global_write_forwarding
    error_message = "A secondary cluster must join the global cluster and forward writes."
  }
}

run "publishes_its_own_writer_endpoint_before_a_failover" {
  command = plan

  variables {
    global = {
      database_name     = "game"
      engine_version    = "16.8"
      global_cluster_id = "arena-prod-global"
      password_version  = 1
      secret_arn        = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf"
      username          = "game"
    }
    role = "secondary"
  }

  override_resource {
    target          = aws_rds_cluster.main
    override_during = plan
    values          = { endpoint = "writer.example.com", reader_endpoint = "reader.example.com" }
  }

  assert {
    condition     = output.endpoint == "reader.example.com" && output.writer_endpoint == "writer.example.com"
    error_message = "A secondary region must send writes to its readers, and changes of the schema to its own writer."
  }
}

run "publishes_the_writer_endpoint_after_a_failover" {
  command = plan

  variables {
    global = {
      database_name     = "game"
      engine_version    = "16.8"
      global_cluster_id = "arena-prod-global"
      password_version  = 1
      secret_arn        = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf"
      username          = "game"
    }
    role   = "secondary"
    writer = true
  }

  override_resource {
    target          = aws_rds_cluster.main
    override_during = plan
    values          = { endpoint = "writer.example.com", reader_endpoint = "reader.example.com" }
  }

  assert {
    condition     = output.endpoint == "writer.example.com"
    error_message = "After a failover, the output `endpoint` must be the writer endpoint of the promoted cluster."
  }
}

run "rejects_a_secondary_without_a_global_cluster" {
  command = plan

  variables {
    global = {
      database_name    = "game"
      engine_version   = "16.8"
      password_version = 1
      secret_arn       = run.secret.secret_arn
      username         = "game"
    }
    role = "secondary"
  }

  expect_failures = [var.role]
}

run "rejects_a_single_instance" {
  command = plan

  variables {
    global = {
      database_name    = "game"
      engine_version   = "16.8"
      password_version = 1
      secret_arn       = run.secret.secret_arn
      username         = "game"
    }
    instances = 1
  }

  expect_failures = [var.instances]
}

run "rejects_a_capacity_for_a_fixed_instance_class" {
  command = plan

  variables {
    global = {
      database_name    = "game"
      engine_version   = "16.8"
      password_version = 1
      secret_arn       = run.secret.secret_arn
      username         = "game"
    }
    capacity = { min = 1, max = 4 }
  }

  expect_failures = [var.capacity]
}

run "refuses_a_class_that_no_global_database_supports" {
  command = plan

  variables {
    global = {
      database_name     = "game"
      engine_version    = "16.8"
      global_cluster_id = "arena-prod-global"
      password_version  = 1
      secret_arn        = run.secret.secret_arn
      username          = "game"
    }
    instance_class = "db.t4g.medium"
  }

  expect_failures = [var.instance_class]
}
