mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

# Default values of the variables for every `run` block of this file, from the example in the module's README.
variables {
  access_log_bucket = "arena-prod-eu-west-1-123456789012-logs"
  account_id        = "123456789012"
  certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
  environment       = { GAMESERVER_PROJECT = "arena" }
  image             = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/arena-prod/game@sha256:${join("", [for _ in range(64) : "a"])}"
  kms_key_arn       = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
  name              = "arena-prod"
  region            = "eu-west-1"
  repository_name   = "arena-prod/game"
  scaling           = { max = 30, min = 3, players_per_task = 2000 }

  network = {
    cidr               = "10.20.0.0/16"
    private_subnet_ids = { eu-west-1a = "subnet-0a", eu-west-1b = "subnet-0b", eu-west-1c = "subnet-0c" }
    public_subnet_ids  = { eu-west-1a = "subnet-1a", eu-west-1b = "subnet-1b", eu-west-1c = "subnet-1c" }
    vpc_id             = "vpc-0123456789abcdef0"
  }
}

run "runs_an_unprivileged_container" {
  command = plan

  assert {
    condition     = jsondecode(aws_ecs_task_definition.game.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.game.container_definitions)[0].user == "10001:10001"
    error_message = "The container must have a read-only root file system and must not run as root."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.game.container_definitions)[0].linuxParameters.capabilities.drop == ["ALL"]
    error_message = "The container must drop all Linux capabilities."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.game.container_definitions)[0].stopTimeout == 30 && tonumber(aws_lb_target_group.game.deregistration_delay) == 30
    error_message = "A stopping server must have time to move its matches before the load balancer cuts its players, and after SIGTERM."
  }
}

run "encrypts_every_connection_to_a_task" {
  command = plan

  assert {
    condition     = aws_lb_target_group.game.protocol == "HTTPS" && aws_lb_target_group.game.health_check[0].protocol == "HTTPS"
    error_message = "The load balancer must encrypt the connections of players and its health checks."
  }

  assert {
    condition     = contains(jsondecode(aws_ecs_task_definition.game.container_definitions)[0].environment, { name = "GAMESERVER_TLS_OWN_CERTIFICATE", value = "true" })
    error_message = "The game servers must accept only TLS."
  }
}

run "lets_the_load_balancer_not_pretend_to_be_a_game_server" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_ingress_rule.peers.from_port == 8081 && aws_vpc_security_group_egress_rule.inside["peers"].from_port == 8081 && !contains([for rule in aws_vpc_security_group_ingress_rule.load_balancer : rule.from_port], 8081)
    error_message = "Only game servers may reach the port at which game servers connect to each other."
  }
}

run "scales_on_players_and_cpu" {
  command = plan

  assert {
    condition     = aws_appautoscaling_policy.players.target_tracking_scaling_policy_configuration[0].target_value == 1400
    error_message = "The fleet must grow when a task has 70 % of `players_per_task`."
  }
}

run "renames_the_target_group_with_its_port" {
  command = plan

  variables {
    task = { port = 9000 }
  }

  assert {
    condition     = aws_lb_target_group.game.name != "arena-prod-${substr(sha1(jsonencode(["10.20.0.0/16", 8080, "HTTPS"])), 0, 6)}" && length(aws_lb_target_group.game.name) <= 32
    error_message = "A new port must change the name of the target group, within 32 characters."
  }
}

run "rejects_a_deregistration_that_is_too_short_to_move_matches" {
  command = plan

  variables {
    task = { deregistration_seconds = 5 }
  }

  expect_failures = [var.task]
}

run "rejects_a_deregistration_that_delays_every_deploy" {
  command = plan

  variables {
    task = { deregistration_seconds = 300 }
  }

  expect_failures = [var.task]
}

run "rejects_an_image_by_tag" {
  command = plan

  variables {
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/arena-prod/game:latest"
  }

  expect_failures = [var.image]
}

run "rejects_a_minimum_below_the_number_of_zones" {
  command = plan

  variables {
    scaling = { min = 2, max = 30, players_per_task = 2000 }
  }

  expect_failures = [var.scaling]
}

run "rejects_a_minimum_above_the_maximum" {
  command = plan

  variables {
    scaling = { min = 30, max = 3, players_per_task = 2000 }
  }

  expect_failures = [var.scaling]
}
