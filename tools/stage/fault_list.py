"""Lists faults of the production stacks. Each fault breaks one property, and names the check that must find it.

`make stage-faults` plants the faults. A developer who changes a line that a fault replaces must change the fault too. A
unit test checks that the text `old` of each edit still occurs exactly once in its file.
"""

from __future__ import annotations

from dataclasses import dataclass

_REGION = "terraform/stacks/region"
_MODULES = "terraform/modules"


@dataclass(frozen=True)
class Edit:
    """Replaces a text in a file of the project.

    Attributes:
        file: path of the file, relative to the repository.
        old: the text to replace, which must occur exactly once in the file.
        new: the text that replaces `old`.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """Describes a fault.

    Attributes:
        name: short name that `make stage-faults` prints.
        breaks: the broken property, as a clause.
        found_by: the step that must find the fault, `check NAME` for a check of `mjctl health`, or `the rule NAME`.
        edits: the changes of the project.
        first_deploy: True if only a deploy from nothing shows the fault.
        unfound: the reason why no check can find the fault on the stage, or "". `make stage-faults` does not plant a
            fault that has a reason in `unfound`.
    """

    name: str
    breaks: str
    found_by: str
    edits: tuple[Edit, ...]
    first_deploy: bool = False
    unfound: str = ""


def _fault(name: str, breaks: str, found_by: str, file: str, old: str, new: str, *, unfound: str = "") -> Fault:
    return Fault(name, breaks, found_by, (Edit(file, old, new),), unfound=unfound)


_ROUTES = (
    _fault(
        "no-confirm-route",
        "players cannot confirm their account",
        "a player's confirmation",
        f"{_REGION}/api.tf",
        '    "POST /v1/confirm"              = { authorized = false, target = "auth" }\n',
        "",
    ),
    _fault(
        "mail-sender",
        "the function auth may not send mail from the address of the environment",
        "a player's confirmation",
        f"{_REGION}/api.tf",
        'values = [var.foundation.identity.sender.address], variable = "ses:FromAddress"',
        'values = [var.foundation.dns.domain], variable = "ses:FromAddress"',
    ),
    _fault(
        "authorizer-audience",
        "the authorizer expects tokens of another client",
        "a player's match creation",
        f"{_MODULES}/api/main.tf",
        "audience = [var.jwt.audience]",
        'audience = ["another-client"]',
    ),
    _fault(
        "cdn-api-to-bucket",
        "CloudFront sends the web client's calls of the API to the bucket",
        "the web client",
        f"{_MODULES}/edge/cdn.tf",
        'path_pattern             = "/v1/*"\n    target_origin_id         = "api"',
        'path_pattern             = "/v1/*"\n    target_origin_id         = "web"',
    ),
    _fault(
        "web-bucket-policy",
        "CloudFront may not read the bucket of the web client",
        "the web client",
        f"{_MODULES}/edge/cdn.tf",
        'values = [aws_cloudfront_distribution.web.arn] }\n      service   = "cloudfront.amazonaws.com"',
        'values = [aws_cloudfront_distribution.web.arn] }\n      service   = "s3.amazonaws.com"',
    ),
    _fault(
        "alias-of-play",
        "the shared name of the game servers leads to the API",
        "the shared name of the game servers",
        f"{_MODULES}/edge/dns.tf",
        "name                   = each.value.load_balancer.dns_name",
        "name                   = each.value.api.name",
    ),
    _fault(
        "certificate-names",
        "the certificate does not cover the name of the region's game servers",
        "a player's join",
        f"{_REGION}/game.tf",
        'names        = [local.play_host, local.api_host, "api.',
        'names        = ["games.${var.foundation.dns.domain}", local.api_host, "api.',
    ),
    _fault(
        "firewall-agent",
        "the firewall blocks our game client by its User-Agent",
        "a player's join",
        f"{_MODULES}/firewall/main.tf",
        '  dynamic "rule" {\n    for_each = local.managed_groups\n',
        """  rule {
    name     = "no-bots"
    priority = 10

    action {
      block {}
    }

    statement {
      byte_match_statement {
        positional_constraint = "CONTAINS"
        search_string         = "mjctl"

        field_to_match {
          single_header {
            name = "user-agent"
          }
        }

        text_transformation {
          priority = 0
          type     = "LOWERCASE"
        }
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "NoBots"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = local.managed_groups
""",
    ),
)

_PERMISSIONS = (
    _fault(
        "auth-may-not-store-names",
        "the function `auth` may not store the name of a new player",
        "the calls of roles",
        f"{_REGION}/api.tf",
        'PlayerName = { actions = ["dynamodb:UpdateItem"]',
        'PlayerName = { actions = ["dynamodb:GetItem"]',
    ),
    _fault(
        "auth-may-not-count",
        "the function `auth` may not count log-ins in DynamoDB, so each instance counts alone",
        "the limits of log-ins",
        f"{_REGION}/api.tf",
        "        RateLimits = local.rate_limits\n",
        '        RateLimits = merge(local.rate_limits, { actions = ["dynamodb:GetItem"] })\n',
    ),
    _fault(
        "auth-without-edge-networks",
        "the function `auth` counts the players behind one address of CloudFront together",
        "the limits of log-ins",
        f"{_REGION}/api.tf",
        "        local.edge_settings,\n",
        "",
    ),
    _fault(
        "distribution-without-pass",
        "the distribution sends no pass, so the API refuses all players",
        "check edge-pass",
        f"{_MODULES}/edge/cdn.tf",
        """    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.pass.arn
    }
""",
        "",
    ),
    _fault(
        "server-may-not-publish",
        "game servers may not publish events",
        "the stored result",
        f"{_REGION}/game.tf",
        'actions = ["sns:Publish"]',
        'actions = ["sns:GetTopicAttributes"]',
    ),
    _fault(
        "server-may-not-protect",
        "a game server with matches may not protect its task",
        "the calls of roles",
        f"{_MODULES}/game_service/access.tf",
        'actions   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]',
        'actions   = ["ecs:GetTaskProtection"]',
    ),
    _fault(
        "server-may-not-see-its-task",
        "a game server may not ask ECS whether its task stops",
        "the calls of roles",
        f"{_MODULES}/game_service/access.tf",
        'actions = ["ecs:DescribeServices", "ecs:DescribeTasks"]',
        'actions = ["ecs:DescribeServices"]',
    ),
    _fault(
        "topic-key",
        "SNS may not use the key of the queue and of the topic",
        "the stored result",
        "terraform/stacks/foundation/main.tf",
        'multi_region = true, services = ["backup", "cloudwatch", "logs", "sns"] } },',
        'multi_region = true, services = ["backup", "cloudwatch", "logs"] } },',
    ),
    _fault(
        "operator-user-keys",
        "the cache user of the operator may not read the registry of game servers",
        "the operator's commands",
        f"{_REGION}/main.tf",
        "on ~server* &*",
        "on ~player* &*",
    ),
)

_NETWORK = (
    _fault(
        "database-without-worker",
        "the function `persistence` may not connect to the database",
        "the stored result",
        f"{_REGION}/main.tf",
        '    worker  = module.functions.security_group_ids["persistence"]\n',
        "",
    ),
)

_GAME = (
    _fault(
        "target-port",
        "the load balancer sends players to the health port",
        "a player's join",
        f"{_MODULES}/game_service/main.tf",
        "    container_port   = var.task.port",
        "    container_port   = var.task.ops_port",
    ),
    _fault(
        "play-address",
        "game servers give players an address that DNS does not know",
        "a player's join",
        f"{_REGION}/game.tf",
        '"wss://${local.play_host}"',
        '"wss://games-${local.play_host}"',
    ),
)

_EVENTS = (
    _fault(
        "mapping-disabled",
        "the function `persistence` does not read its queue",
        "check function/persistence",
        f"{_MODULES}/functions/main.tf",
        "  batch_size              = each.value.queue.batch_size\n",
        "  batch_size              = each.value.queue.batch_size\n  enabled                 = false\n",
    ),
    _fault(
        "queue-policy",
        "the queue accepts messages of another topic",
        "the stored result",
        f"{_MODULES}/events/main.tf",
        "values   = [local.topic_arns[statement.value.topic]]",
        'values   = ["${local.topic_arns[statement.value.topic]}-old"]',
    ),
    _fault(
        "database-user",
        "the functions log in to the database as a user that no role of IAM may use",
        "the stored result",
        f"{_REGION}/api.tf",
        "= local.application_user\n",
        '= "${local.application_user}x"\n',
    ),
    _fault(
        "alarm-dimension",
        "the alarms of the functions have a dimension that Lambda does not publish",
        "the alarms",
        f"{_MODULES}/observability/main.tf",
        'metric = "Errors", dimensions = { FunctionName = function }',
        'metric = "Errors", dimensions = { Function = function }',
    ),
)

_FIRST_DEPLOYS = (
    Fault(
        "migration-skips-a-table",
        "a migration does not create the table of the players' statistics",
        "the stored result",
        (
            Edit(
                "gameserver/migrations/versions/0001_results.py", "CREATE TABLE player_stats (", "CREATE TABLE stats ("
            ),
            Edit(
                "gameserver/migrations/versions/0001_results.py",
                '    "CREATE INDEX player_stats_by_score ON player_stats (total_score DESC, player_id)",\n',
                "",
            ),
        ),
        first_deploy=True,
    ),
)

_UNFOUND = (
    _fault(
        "pipeline-may-not-pass-roles",
        "the role of the pipeline may not pass the roles of tasks",
        "",
        f"{_MODULES}/ci_role/main.tf",
        '"ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "monitoring',
        '"lambda.amazonaws.com", "monitoring',
        unfound="nothing on the stage uses the pipeline's role: the operator is the root user of the account",
    ),
    _fault(
        "no-endpoint",
        "the VPC has no endpoint for the keys",
        "",
        f"{_REGION}/variables.tf",
        '"ecr.dkr", "kms", "logs"',
        '"ecr.dkr", "logs"',
        unfound="the stage has no routes; on AWS too, the calls succeed through the NAT gateway, at a higher price",
    ),
    _fault(
        "task-architecture",
        "the tasks ask for another architecture than that of the image",
        "",
        f"{_MODULES}/game_service/main.tf",
        'cpu_architecture        = "X86_64"',
        'cpu_architecture        = "ARM64"',
        unfound="the tasks of the stage are processes of this machine, which have its architecture",
    ),
    _fault(
        "short-stop",
        "ECS kills a game server two seconds after SIGTERM",
        "",
        f"{_MODULES}/game_service/main.tf",
        "stopTimeout            = var.task.drain_seconds",
        "stopTimeout            = 2",
        unfound="only a deploy during matches with players shows the fault, which a single match does not",
    ),
)

# A single match does not show these faults. The rules of production find them in the plans.
_RULES = (
    _fault(
        "idle-timeout",
        "the load balancer closes a connection that is idle for ten seconds",
        "the rule load_balancers_fit_websockets_and_are_protected",
        f"{_MODULES}/game_service/load_balancer.tf",
        "max(60, 3 * var.task.ping_seconds)",
        "10",
    ),
    _fault(
        "clear-targets",
        "the load balancer connects to the game servers without TLS",
        "the rule connections_to_game_servers_are_encrypted",
        f"{_MODULES}/game_service/load_balancer.tf",
        'target_protocol = "HTTPS"',
        'target_protocol = "HTTP"',
    ),
    _fault(
        "open-peer-port",
        "the load balancer reaches the port at which game servers authenticate each other",
        "the rule connections_to_game_servers_are_encrypted",
        f"{_MODULES}/game_service/access.tf",
        "for_each = { ops = var.task.ops_port, play = var.task.port }",
        "for_each = { ops = var.task.ops_port, peers = var.task.peer_port, play = var.task.port }",
    ),
    _fault(
        "unprotected-database",
        "a click can delete the database",
        "the rule databases_fail_over_and_are_protected",
        f"{_MODULES}/database/main.tf",
        "deletion_protection             = var.deletion_protection",
        "deletion_protection             = false",
    ),
)

_PROTECTION = (
    _fault(
        "balancer-without-firewall",
        "no firewall protects the load balancer",
        "check firewall",
        f"{_REGION}/game.tf",
        "associations       = { game = module.game_service.load_balancer.arn }",
        "associations       = {}",
    ),
    _fault(
        "cdn-without-firewall",
        "no firewall protects the web client and the API",
        "check cdn",
        f"{_MODULES}/edge/cdn.tf",
        "  web_acl_id          = var.web_acl_arn\n",
        "",
    ),
    _fault(
        "no-recovery",
        "the tables of matches cannot be restored to a point in time",
        "check table/matches",
        f"{_MODULES}/match_store/main.tf",
        "point_in_time_recovery {\n    enabled = true",
        "point_in_time_recovery {\n    enabled = false",
    ),
    _fault(
        "no-subscription",
        "no queue receives the events of the game servers",
        "check topic/events",
        f"{_MODULES}/data_plane/data-plane.yaml",
        "    subscriptions:\n      - {queue: persistence, raw_message_delivery: true}",
        "    subscriptions: []",
    ),
)

FAULTS = (*_RULES, *_PROTECTION, *_FIRST_DEPLOYS, *_UNFOUND, *_ROUTES, *_PERMISSIONS, *_NETWORK, *_GAME, *_EVENTS)
