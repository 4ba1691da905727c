mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  account_id              = "123456789012"
  allowed_security_groups = { game = "sg-0123456789abcdef0" }
  kms_key_arn             = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  maintenance_window      = "tue:05:00-tue:06:00"
  name                    = "arena-prod"
  purpose                 = "cache"
  region                  = "eu-west-1"
  subnet_ids              = { eu-west-1a = "subnet-0a", eu-west-1b = "subnet-0b", eu-west-1c = "subnet-0c" }
  users                   = { game = { access = "on ~* &* +@all -@admin -@dangerous" } }
  vpc_id                  = "vpc-0123456789abcdef0"
}

run "fails_over_and_has_no_passwords" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.main.multi_az_enabled && aws_elasticache_replication_group.main.num_cache_clusters == 3
    error_message = "The cache must have a primary and two replicas in different zones."
  }

  assert {
    condition     = aws_elasticache_user.iam["game"].authentication_mode[0].type == "iam" && startswith(aws_elasticache_user.default.access_string, "off ")
    error_message = "Users must log in by IAM, and the user `default` must be switched off."
  }

  assert {
    condition     = output.member_ids == tomap({ 1 = "arena-prod-eu-west-1-001", 2 = "arena-prod-eu-west-1-002", 3 = "arena-prod-eu-west-1-003" })
    error_message = "The output `member_ids` must name the nodes as ElastiCache does, so that alarms find the nodes."
  }
}

run "the_cache_may_evict" {
  command = plan

  assert {
    condition     = one(aws_elasticache_parameter_group.main.parameter).value == "volatile-lru"
    error_message = "The cache must evict keys with a time to live when its memory is full."
  }

  assert {
    condition     = aws_elasticache_replication_group.main.apply_immediately
    error_message = "A change of the node type must take effect at the deploy, and not at the next maintenance window."
  }
}

run "the_state_store_never_evicts" {
  command = plan

  variables {
    purpose = "state"
  }

  assert {
    condition     = { for parameter in aws_elasticache_parameter_group.main.parameter : parameter.name => parameter.value } == { maxmemory-policy = "noeviction", cluster-enabled = "yes" }
    error_message = "The state store must run in cluster mode and must not evict the keys of running matches."
  }

  assert {
    condition     = aws_elasticache_replication_group.main.cluster_mode == "enabled" && aws_elasticache_replication_group.main.num_node_groups == 1 && aws_elasticache_replication_group.main.replicas_per_node_group == 2
    error_message = "The state store must run in cluster mode with one shard by default, which has a primary and two replicas."
  }

  assert {
    condition     = output.replication_group_id == "arena-prod-state-eu-west-1" && output.user_names == { game = "arena-prod-state-game" }
    error_message = "The state store must not share names with the cache of the same region."
  }
}

run "the_nodes_of_each_shard_have_alarms" {
  command = plan

  variables {
    purpose  = "state"
    replicas = 1
    shards   = 2
  }

  assert {
    condition = output.member_ids == tomap({
      "1-1" = "arena-prod-state-eu-west-1-0001-001", "1-2" = "arena-prod-state-eu-west-1-0001-002",
      "2-1" = "arena-prod-state-eu-west-1-0002-001", "2-2" = "arena-prod-state-eu-west-1-0002-002",
    })
    error_message = "The output `member_ids` must name the nodes of each shard as ElastiCache does."
  }
}

run "rejects_shards_of_a_cache" {
  command = plan

  variables {
    shards = 2
  }

  expect_failures = [var.shards]
}

run "rejects_an_unknown_purpose" {
  command = plan

  variables {
    purpose = "queue"
  }

  expect_failures = [var.purpose]
}

run "rejects_a_name_that_is_too_long" {
  command = plan

  variables {
    name = "a-name-that-is-far-too-long-for-a-cache"
  }

  expect_failures = [var.region]
}

run "rejects_a_definition_of_the_default_user" {
  command = plan

  variables {
    users = { default = { access = "on ~* +@all" } }
  }

  expect_failures = [var.users]
}

run "rejects_a_cache_without_a_replica" {
  command = plan

  variables {
    replicas = 0
  }

  expect_failures = [var.replicas]
}
