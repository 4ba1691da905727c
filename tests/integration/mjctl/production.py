"""A region of the production stacks on the emulators, made by boto3 as Terraform would leave it, and its contract."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mjctl.clients.firewall_tokens import HEADER, MATCHES_NOTHING
from mjctl.models.contract import Contract
from mjctl.sandbox.emulators import Emulators
from tests.factories import contract

REGION = "us-east-1"
OTHER_REGION = "eu-west-1"
DOMAIN = "arena.example.com"
NAME = "arena-it"
PASSES = f"{NAME}-distribution-passes"


@dataclass
class Production:
    """Holds the resources of one region on an emulated AWS, and the contract that names them."""

    emulators: Emulators
    contract: Contract

    def client(self, service: str) -> Any:
        return self.emulators.client(service, self.contract.region)

    @property
    def cluster(self) -> str:
        return str(self.contract.fleet.cluster)

    @property
    def service(self) -> str:
        return str(self.contract.fleet.service)

    def task_definition(self) -> str:
        """Register a new revision of the task definition of the game. Returns: its ARN."""
        return register_task(self.client("ecs"))


def build(emulators: Emulators, region: str = REGION) -> Production:
    """Create all resources of a region except the ops function.

    Build REGION before another region, because REGION contains the resources that exist once.
    """

    def client(service: str, region: str = region) -> Any:
        return emulators.client(service, region)

    name, zones, is_primary = f"{NAME}-{region}", tuple(f"{region}{letter}" for letter in "abc"), region == REGION

    account = emulators.account_id
    network = _network(client("ec2"), zones)
    balancer, target_group = _load_balancer(client("elbv2"), network)
    web_acl = _web_acl(client("wafv2"), balancer)
    task_definition = _service(client("ecs"), target_group, network["subnets"])
    set_scaling(client("application-autoscaling"))
    queues = {
        key: _queue(client("sqs"), f"{NAME}-{key}") for key in ("persistence", "persistence-dlq", "api-function-dlq")
    }
    events, alarms = (client("sns").create_topic(Name=f"{NAME}-{name}")["TopicArn"] for name in ("events", "alarms"))
    client("sns").subscribe(TopicArn=events, Protocol="sqs", Endpoint=queues["persistence"]["arn"])
    client("sns").subscribe(TopicArn=alarms, Protocol="sqs", Endpoint=queues["persistence"]["arn"])
    put_alarm(client("cloudwatch"), "server-5xx")
    put_alarm(client("cloudwatch"), "no-healthy-server")
    set_alarm(emulators, region, "OK")
    function = create_function(client("lambda"), f"{NAME}-api")
    set_edge_networks(client("lambda"), function, edge_networks(client("ec2")))
    secret = _secret(client("secretsmanager"), is_primary)
    if is_primary:
        client("secretsmanager").create_secret(Name=PASSES, SecretString='{"accepted": ["a"]}')
    pool = client("cognito-idp").create_user_pool(PoolName=NAME)["UserPool"]["Id"]
    client("backup").create_backup_vault(BackupVaultName=name)
    if is_primary:
        _distribution(client("cloudfront"), web_acl)
    _health_check(client("route53"), region)
    return Production(
        emulators,
        contract(
            region,
            project="arena",
            environment="it",
            target="sandbox",
            zones=zones,
            aws={
                "account_id": account,
                "endpoint_url": emulators.url("ministack"),
                "secret": f"file:{emulators.key_file}",
                "service_endpoint_urls": service_endpoints(emulators.endpoints()),
            },
            endpoints={"api": f"https://api.{DOMAIN}", "served": False},
            state={
                "access": "ops_function",
                "ops_function_arn": f"arn:aws:lambda:{region}:{account}:function:{NAME}-ops",
                "secret": f"iam:{name}-state",
                "url": f"rediss://{NAME}-state-ops@state.cache.example:6379",
            },
            cache={
                "access": "ops_function",
                "ops_function_arn": f"arn:aws:lambda:{region}:{account}:function:{NAME}-ops",
                "secret": f"iam:{name}",
                "url": f"rediss://{NAME}-ops@master.cache.example:6379",
            },
            database={
                "access": "private",
                "host": _aurora(client("rds"), name, zones),
                "port": 5432,
                "name": "game",
                "user": "game",
                "secret": secret,
                "tls": True,
            },
            tables={"matches": _table(client, is_primary)},
            topics={"events": events},
            queues={
                "persistence": {
                    **queues["persistence"],
                    "dead_letter": queues["persistence-dlq"],
                    "max_receive_count": 5,
                }
            },
            identity={
                "user_pool_id": pool,
                "client_id": "client",
                "issuer": f"{emulators.url('ministack')}/{pool}",
                "jwks_url": f"{emulators.url('ministack')}/{pool}/.well-known/jwks.json",
            },
            keys={"data": _key(client("kms"))},
            fleet={
                "kind": "ecs",
                "cluster": NAME,
                "service": f"{NAME}-game",
                "task_definition": task_definition,
                "log_group": f"/{NAME}/game",
            },
            backup={"vault_name": name},
            managed={
                "alarm_prefix": f"{NAME}-",
                "alarm_topic": alarms,
                "api_id": _gateway(client("apigatewayv2")),
                "cache_group": create_cache(client("elasticache"), name),
                "certificate": _certificate(client("acm")),
                "database_cluster": name,
                "dead_letter_queues": {"api": f"{NAME}-api-function-dlq"},
                "functions": {"api": function},
                "load_balancer": balancer,
                "primary_region": REGION,
                "state_group": create_cache(client("elasticache"), f"{name}-state", shards=1),
                "target_group": target_group,
                "web_acl": web_acl,
                "web_domain": DOMAIN,
            },
        ),
    )


def service_endpoints(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the endpoints by service, as the stack publishes them: `cloudwatch` for AWS_ENDPOINT_URL_CLOUDWATCH."""
    prefix = "AWS_ENDPOINT_URL_"
    return {name.removeprefix(prefix).lower(): url for name, url in variables.items() if name.startswith(prefix)}


def register_task(ecs: Any) -> str:
    answer = ecs.register_task_definition(
        family=f"{NAME}-game",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="2048",
        containerDefinitions=[{"name": "game", "image": "example/game", "essential": True}],
    )
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def _network(ec2: Any, zones: tuple[str, ...]) -> dict[str, Any]:
    vpc = ec2.create_vpc(CidrBlock="10.10.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.10.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    ]
    return {"vpc": vpc, "subnets": subnets}


def _load_balancer(elbv2: Any, network: Mapping[str, Any]) -> tuple[str, str]:
    balancer = elbv2.create_load_balancer(Name=f"{NAME}-game", Subnets=network["subnets"])["LoadBalancers"][0]
    group = elbv2.create_target_group(
        Name=f"{NAME}-game", Protocol="HTTP", Port=7777, VpcId=network["vpc"], TargetType="ip"
    )["TargetGroups"][0]
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
    )
    elbv2.register_targets(
        TargetGroupArn=group["TargetGroupArn"], Targets=[{"Id": f"10.10.{number}.10"} for number in range(3)]
    )
    return balancer["LoadBalancerArn"], group["TargetGroupArn"]


def _web_acl(wafv2: Any, balancer: str) -> str:
    seen = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    patterns = wafv2.create_regex_pattern_set(
        Name=f"{NAME}-load-tests", Scope="REGIONAL", RegularExpressionList=[{"RegexString": MATCHES_NOTHING}]
    )["Summary"]["ARN"]
    token = {
        "ARN": patterns,
        "FieldToMatch": {"SingleHeader": {"Name": HEADER}},
        "TextTransformations": [{"Priority": 0, "Type": "NONE"}],
    }
    scope = {"NotStatement": {"Statement": {"RegexPatternSetReferenceStatement": token}}}
    limit = {"Limit": 2000, "AggregateKeyType": "IP", "ScopeDownStatement": scope}
    acl: str = wafv2.create_web_acl(
        Name=NAME,
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig=seen,
        Rules=[
            {
                "Name": "rate-limit",
                "Priority": 0,
                "Action": {"Block": {}},
                "Statement": {"RateBasedStatement": limit},
                "VisibilityConfig": seen,
            }
        ],
    )["Summary"]["ARN"]
    wafv2.associate_web_acl(WebACLArn=acl, ResourceArn=balancer)
    return acl


def write_tokens(wafv2: Any, *patterns: str) -> None:
    """Replace the patterns of the tokens that pass the rate limit; no patterns stand for no load test."""
    listed = wafv2.list_regex_pattern_sets(Scope="REGIONAL")["RegexPatternSets"]
    pattern_set = next(item for item in listed if item["Name"] == f"{NAME}-load-tests")
    named = {"Name": pattern_set["Name"], "Id": pattern_set["Id"], "Scope": "REGIONAL"}
    wafv2.update_regex_pattern_set(
        **named,
        LockToken=wafv2.get_regex_pattern_set(**named)["LockToken"],
        RegularExpressionList=[{"RegexString": pattern} for pattern in patterns or (MATCHES_NOTHING,)],
    )


def _service(ecs: Any, target_group: str, subnets: list[str]) -> str:
    ecs.create_cluster(clusterName=NAME)
    task_definition = register_task(ecs)
    create_service(ecs, task_definition, subnets)
    return task_definition


def create_service(ecs: Any, task_definition: str, subnets: list[str]) -> None:
    """Create the game service, or create it again after a test has deleted it."""
    ecs.create_service(
        cluster=NAME,
        serviceName=f"{NAME}-game",
        taskDefinition=task_definition,
        desiredCount=3,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets}},
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    )


def set_scaling(autoscaling: Any, maximum: int = 30) -> None:
    """Register the game service with the autoscaler, or change the number of tasks it may grow to."""
    autoscaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{NAME}/{NAME}-game",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=3,
        MaxCapacity=maximum,
    )


def _queue(sqs: Any, name: str) -> dict[str, str]:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"url": url, "arn": arn}


def put_alarm(cloudwatch: Any, name: str) -> None:
    """Create an alarm of the game servers in the state OK, or create it again after a test has deleted it."""
    cloudwatch.put_metric_alarm(
        AlarmName=f"{NAME}-{name}",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="HTTPCode_Target_5XX_Count",
        Namespace="AWS/ApplicationELB",
        Period=60,
        Statistic="Sum",
        Threshold=10,
    )
    # The state of a new alarm is INSUFFICIENT_DATA.
    cloudwatch.set_alarm_state(AlarmName=f"{NAME}-{name}", StateValue="OK", StateReason="test")


def create_function(client: Any, name: str) -> str:
    """Create a Lambda function, and wait until it can be called."""
    from tests.integration.mjctl.ops_lambda import packed

    client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role="arn:aws:iam::123456789012:role/api",
        Handler="api.handler",
        Code={"ZipFile": packed({"api.py": "def handler(event, context):\n    return {}\n"})},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return name


def edge_networks(ec2: Any) -> list[str]:
    """Return the networks in the emulated AWS's prefix list of CloudFront."""
    named = {"Name": "prefix-list-name", "Values": ["com.amazonaws.global.cloudfront.origin-facing"]}
    (prefix_list,) = ec2.describe_managed_prefix_lists(Filters=[named])["PrefixLists"]
    entries = ec2.get_managed_prefix_list_entries(PrefixListId=prefix_list["PrefixListId"])["Entries"]
    return [str(entry["Cidr"]) for entry in entries]


def set_edge_networks(client: Any, function: str, networks: list[str], passes: str = PASSES) -> None:
    """Give a function the settings with the networks of CloudFront, and with the secret of the accepted passes."""
    variables = {"GAMESERVER_DISTRIBUTION_PASSES": passes, "GAMESERVER_EDGE_NETWORKS": ",".join(networks)}
    client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _distribution(cloudfront: Any, web_acl: str) -> None:
    origin = {"Id": "web", "DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": NAME,
            "Comment": NAME,
            "Enabled": True,
            "Aliases": {"Quantity": 1, "Items": [DOMAIN]},
            "WebACLId": web_acl,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {"TargetOriginId": "web", "ViewerProtocolPolicy": "redirect-to-https"},
        }
    )


def _aurora(rds: Any, name: str, zones: tuple[str, ...]) -> str:
    cluster = rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        MasterUsername="game",
        MasterUserPassword="only-for-this-test",
    )["DBCluster"]
    for number, zone in enumerate(zones[:2], 1):
        create_database_instance(rds, name, number, zone)
    return str(cluster["Endpoint"])


def create_database_instance(rds: Any, cluster: str, number: int, zone: str) -> None:
    """Add an instance to the Aurora cluster."""
    rds.create_db_instance(
        DBInstanceIdentifier=f"{cluster}-{number}",
        DBClusterIdentifier=cluster,
        DBInstanceClass="db.r7g.large",
        Engine="aurora-postgresql",
        AvailabilityZone=zone,
    )


def _table(client: Callable[..., Any], is_primary: bool) -> dict[str, str]:
    name, dynamodb, replica = f"{NAME}-matches", client("dynamodb"), client("dynamodb", OTHER_REGION)
    if not is_primary:
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        return {"name": name, "arn": dynamodb.describe_table(TableName=name)["Table"]["TableArn"]}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "match_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "match_id", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    dynamodb.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": OTHER_REGION}}])
    replica.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return {"name": name, "arn": dynamodb.describe_table(TableName=name)["Table"]["TableArn"]}


def _key(kms: Any) -> str:
    key = kms.create_key(Description="data")["KeyMetadata"]
    kms.enable_key_rotation(KeyId=key["KeyId"])
    return str(key["Arn"])


def create_cache(elasticache: Any, name: str, *, shards: int = 0, replicas: int = 2) -> str:
    """Create a replication group that has no metrics yet, with `shards` shards in cluster mode.

    Returns: its name.
    """
    cluster = {"ClusterMode": "enabled", "NumNodeGroups": shards, "ReplicasPerNodeGroup": replicas}
    elasticache.create_replication_group(
        ReplicationGroupId=name,
        ReplicationGroupDescription="cache",
        Engine="redis",
        CacheNodeType="cache.t4g.small",
        AutomaticFailoverEnabled=True,
        MultiAZEnabled=True,
        **(cluster if shards else {"NumCacheClusters": 1 + replicas}),
    )
    return name


def _certificate(acm: Any) -> str:
    return str(acm.request_certificate(DomainName=DOMAIN, ValidationMethod="DNS")["CertificateArn"])


def _secret(secretsmanager: Any, is_primary: bool) -> str:
    name = f"{NAME}-database-master"
    if not is_primary:
        return str(secretsmanager.describe_secret(SecretId=name)["ARN"])
    answer = secretsmanager.create_secret(
        Name=name,
        SecretString=json.dumps({"username": "game", "password": "only-for-this-test"}),
        AddReplicaRegions=[{"Region": OTHER_REGION}],
    )
    return str(answer["ARN"])


def _health_check(route53: Any, region: str) -> None:
    route53.create_health_check(
        CallerReference=f"{region}-{uuid.uuid4()}",
        HealthCheckConfig={
            "Type": "CLOUDWATCH_METRIC",
            "AlarmIdentifier": {"Region": region, "Name": f"{NAME}-no-healthy-server"},
            "InsufficientDataHealthStatus": "LastKnownStatus",
        },
    )


@contextmanager
def without_health_checks(emulators: Emulators) -> Iterator[None]:
    """Delete the health checks of all regions, and create them again afterwards."""
    route53 = emulators.client("route53", REGION)
    checks = route53.list_health_checks()["HealthChecks"]
    for check in checks:
        route53.delete_health_check(HealthCheckId=check["Id"])
    try:
        yield
    finally:
        for check in checks:
            _health_check(route53, check["HealthCheckConfig"]["AlarmIdentifier"]["Region"])


def set_alarm(emulators: Emulators, region: str, state: str) -> None:
    """Put the alarm that the region's health check follows into a state."""
    emulators.client("cloudwatch", region).set_alarm_state(
        AlarmName=f"{NAME}-no-healthy-server", StateValue=state, StateReason="test"
    )


def set_flags(emulators: Emulators, region: str, *, disabled: bool, inverted: bool) -> None:
    """Set the flags of the region's health check, as an older mjctl or a person in the console would."""
    route53 = emulators.client("route53", REGION)
    (check,) = (
        check
        for check in route53.list_health_checks()["HealthChecks"]
        if check["HealthCheckConfig"]["AlarmIdentifier"]["Region"] == region
    )
    route53.update_health_check(HealthCheckId=check["Id"], Disabled=disabled, Inverted=inverted)


def named_by_dns(emulators: Emulators) -> set[str]:
    """Answer as Route 53 would: the regions whose health check is healthy, and all regions if no health check is
    healthy.

    The emulator stores health checks and alarms, but evaluates neither. The formula follows the text of AWS, and does
    not use the table of mjctl:
    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
    """
    regions, healthy = set(), set()
    for check in emulators.client("route53", REGION).list_health_checks()["HealthChecks"]:
        config = check["HealthCheckConfig"]
        alarm = config["AlarmIdentifier"]
        cloudwatch = emulators.client("cloudwatch", alarm["Region"])
        (named,) = cloudwatch.describe_alarms(AlarmNames=[alarm["Name"]])["MetricAlarms"]
        # A disabled health check counts as healthy. If the alarm has no data, the health check keeps its last status,
        # which is healthy in these tests.
        status = bool(config.get("Disabled")) or named["StateValue"] != "ALARM"
        regions.add(alarm["Region"])
        if status is not bool(config.get("Inverted")):
            healthy.add(alarm["Region"])
    return healthy or regions


def _gateway(gateway: Any) -> str:
    api: str = gateway.create_api(Name=f"{NAME}-api", ProtocolType="HTTP")["ApiId"]
    gateway.create_route(ApiId=api, RouteKey="POST /v1/login")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return api
