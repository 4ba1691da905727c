"""Tests that each correction of an emulator works and is still needed.

A probe returns True if the emulator behaves as AWS does. The probe must return False for the emulator without
corrections. If the probe returns True for a new release without corrections, the correction is no longer needed, and
the test fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(180)]

REGION = "us-east-1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
probe = Probes[Callable[..., Any]]()


@probe("authorizer-payload-version")
def _authorizer(client: Callable[..., Any]) -> bool:
    gateway = client("apigatewayv2")
    api = gateway.create_api(Name="a", ProtocolType="HTTP")["ApiId"]
    created = gateway.create_authorizer(
        ApiId=api,
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Audience": ["a"], "Issuer": "https://issuer.example.com"},
        Name="a",
    )
    read = gateway.get_authorizer(ApiId=api, AuthorizerId=created["AuthorizerId"])
    return "AuthorizerPayloadFormatVersion" not in read


def _cache(client: Callable[..., Any]) -> Any:
    cache = client("elasticache")
    cache.create_replication_group(
        AutomaticFailoverEnabled=True,
        CacheNodeType="cache.t4g.small",
        Engine="redis",
        KmsKeyId=KEY,
        NumCacheClusters=2,
        ReplicationGroupDescription="a",
        ReplicationGroupId="probe",
    )
    return cache


@probe("cache-key-and-upgrades")
def _cache_key(client: Callable[..., Any]) -> bool:
    cache = _cache(client)
    group = cache.describe_replication_groups(ReplicationGroupId="probe")["ReplicationGroups"][0]
    node = cache.describe_cache_clusters(CacheClusterId=group["MemberClusters"][0])["CacheClusters"][0]
    return group.get("KmsKeyId") == KEY and node.get("AutoMinorVersionUpgrade") is True


@probe("cache-parameters-by-source")
def _cache_parameters(client: Callable[..., Any]) -> bool:
    cache = client("elasticache")
    cache.create_cache_parameter_group(CacheParameterGroupFamily="redis7", CacheParameterGroupName="p", Description="p")
    cache.modify_cache_parameter_group(
        CacheParameterGroupName="p",
        ParameterNameValues=[{"ParameterName": "maxmemory-policy", "ParameterValue": "volatile-lru"}],
    )
    changed = cache.describe_cache_parameters(CacheParameterGroupName="p", Source="user")["Parameters"]
    return [parameter["ParameterName"] for parameter in changed] == ["maxmemory-policy"]


@probe("cache-user-escaped")
def _cache_user(client: Callable[..., Any]) -> bool:
    access = "on ~* &* +@all"
    cache = client("elasticache")
    try:
        created = cache.create_user(
            AccessString=access, Engine="redis", NoPasswordRequired=True, UserId="escaped", UserName="escaped"
        )
    except Exception:  # the class of the parser's exception depends on the version of the SDK
        return False
    return bool(created["AccessString"] == access)


@probe("cache-user-log-in")
def _cache_log_in(client: Callable[..., Any]) -> bool:
    cache = client("elasticache")
    cache.create_user(
        AccessString="on ~* +@all", AuthenticationMode={"Type": "iam"}, Engine="redis", UserId="iam", UserName="iam"
    )
    return bool(cache.describe_users(UserId="iam")["Users"][0]["Authentication"]["Type"] == "iam")


def _database(client: Callable[..., Any], name: str) -> Any:
    rds = client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier=name,
        EnableCloudwatchLogsExports=["postgresql"],
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        MasterUsername="game",
        MasterUserPassword="not-a-secret",
    )
    return rds


def _instance(rds: Any, name: str) -> dict[str, Any]:
    created: dict[str, Any] = rds.create_db_instance(
        DBClusterIdentifier=name,
        DBInstanceClass="db.r7g.large",
        DBInstanceIdentifier=f"{name}-1",
        EnablePerformanceInsights=True,
        Engine="aurora-postgresql",
        PerformanceInsightsKMSKeyId=KEY,
    )["DBInstance"]
    return created


@probe("db-cluster-endpoints")
def _cluster_endpoints(client: Callable[..., Any]) -> bool:
    rds = _database(client, "endpoints")
    before = rds.describe_db_clusters(DBClusterIdentifier="endpoints")["DBClusters"][0]["Endpoint"]
    _instance(rds, "endpoints")
    return bool(rds.describe_db_clusters(DBClusterIdentifier="endpoints")["DBClusters"][0]["Endpoint"] == before)


@probe("db-cluster-log-exports")
def _log_exports(client: Callable[..., Any]) -> bool:
    rds = _database(client, "exports")
    cluster = rds.describe_db_clusters(DBClusterIdentifier="exports")["DBClusters"][0]
    return cluster.get("EnabledCloudwatchLogsExports") == ["postgresql"]


@probe("db-instance-filter")
def _instance_filter(client: Callable[..., Any]) -> bool:
    rds = _database(client, "filter")
    _instance(rds, "filter")
    instances = rds.describe_db_instances(Filters=[{"Name": "dbi-resource-id", "Values": ["db-NONE"]}])["DBInstances"]
    return instances == []


@probe("db-performance-insights-key")
def _performance_key(client: Callable[..., Any]) -> bool:
    rds = _database(client, "insights")
    _instance(rds, "insights")
    instance = rds.describe_db_instances(DBInstanceIdentifier="insights-1")["DBInstances"][0]
    return instance.get("PerformanceInsightsKMSKeyId") == KEY


@probe("dynamodb-replica-key")
def _replica_key(client: Callable[..., Any]) -> bool:
    own = KEY.replace("us-east-1", "eu-west-1")
    client("dynamodb").create_table(
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY},
        TableName="probe",
    )
    replica = {"Create": {"RegionName": "eu-west-1", "KMSMasterKeyId": own}}
    client("dynamodb").update_table(TableName="probe", ReplicaUpdates=[replica])
    table = client("dynamodb", "eu-west-1").describe_table(TableName="probe")["Table"]
    return bool(table["SSEDescription"]["KMSMasterKeyArn"] == own)


@probe("ecs-zone-rebalancing")
def _zone_rebalancing(client: Callable[..., Any]) -> bool:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="probe")
    ecs.register_task_definition(
        family="probe",
        containerDefinitions=[{"name": "a", "image": "a", "memory": 64}],
        requiresCompatibilities=["FARGATE"],
    )
    ecs.create_service(
        availabilityZoneRebalancing="ENABLED", cluster="probe", desiredCount=0, serviceName="s", taskDefinition="probe"
    )
    service = ecs.describe_services(cluster="probe", services=["s"])["services"][0]
    return service.get("availabilityZoneRebalancing") == "ENABLED"


@probe("endpoint-groups")
def _endpoint_groups(client: Callable[..., Any]) -> bool:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(Description="a", GroupName="probe", VpcId=vpc)["GroupId"]
    created = ec2.create_vpc_endpoint(
        PrivateDnsEnabled=True,
        SecurityGroupIds=[group],
        ServiceName=f"com.amazonaws.{REGION}.sqs",
        VpcEndpointType="Interface",
        VpcId=vpc,
    )["VpcEndpoint"]["VpcEndpointId"]
    read = ec2.describe_vpc_endpoints(VpcEndpointIds=[created])["VpcEndpoints"][0]
    return [g["GroupId"] for g in read.get("Groups", [])] == [group] and read.get("PrivateDnsEnabled") is True


@probe("flow-log-attributes")
def _flow_log(client: Callable[..., Any]) -> bool:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    role = "arn:aws:iam::123456789012:role/flow"
    created = ec2.create_flow_logs(
        DeliverLogsPermissionArn=role,
        LogDestination=f"arn:aws:logs:{REGION}:123456789012:log-group:flow",
        MaxAggregationInterval=60,
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="ALL",
    )["FlowLogIds"]
    log = ec2.describe_flow_logs(FlowLogIds=created)["FlowLogs"][0]
    return log.get("DeliverLogsPermissionArn") == role and log.get("MaxAggregationInterval") == 60


@probe("managed-keys")
def _managed_keys(client: Callable[..., Any]) -> bool:
    try:
        return bool(client("kms").describe_key(KeyId="alias/aws/dynamodb")["KeyMetadata"]["KeyId"])
    except ClientError:
        return False


@probe("secret-replicas")
def _secret_replicas(client: Callable[..., Any]) -> bool:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="replicated", SecretString="a", AddReplicaRegions=[{"Region": "eu-west-1"}])
    status = secrets.describe_secret(SecretId="replicated").get("ReplicationStatus", [])
    return [replica["Region"] for replica in status] == ["eu-west-1"]


@probe("secret-replicas-removed")
def _secret_replicas_removed(client: Callable[..., Any]) -> bool:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="removed", SecretString="a")
    secrets.replicate_secret_to_regions(SecretId="removed", AddReplicaRegions=[{"Region": "eu-west-1"}])
    try:
        secrets.remove_regions_from_replication(SecretId="removed", RemoveReplicaRegions=["eu-west-1"])
    except ClientError:
        return False
    return not secrets.describe_secret(SecretId="removed").get("ReplicationStatus")


@probe("health-check-booleans")
def _health_check(client: Callable[..., Any]) -> bool:
    route53 = client("route53")
    created = route53.create_health_check(
        CallerReference="probe",
        HealthCheckConfig={
            "Type": "CLOUDWATCH_METRIC",
            "AlarmIdentifier": {"Region": REGION, "Name": "a"},
            "Inverted": True,
        },
    )
    return bool(created["HealthCheck"]["HealthCheckConfig"]["Inverted"])


@probe("zone-dnssec")
def _zone_dnssec(client: Callable[..., Any]) -> bool:
    route53 = client("route53")
    zone = route53.create_hosted_zone(Name="example.com", CallerReference="a")["HostedZone"]["Id"]
    try:
        return bool(route53.get_dnssec(HostedZoneId=zone)["Status"]["ServeSignature"] == "NOT_SIGNING")
    except ClientError:
        return False


def _scaling(client: Callable[..., Any], service: str) -> Any:
    scaling = client("application-autoscaling")
    created = scaling.register_scalable_target(
        MaxCapacity=9,
        MinCapacity=3,
        ResourceId=f"service/{service}/{service}",
        ScalableDimension="ecs:service:DesiredCount",
        ServiceNamespace="ecs",
        Tags={"Project": "arena"},
    )
    return scaling, created["ScalableTargetARN"]


@probe("alarm-states")
def _alarm_states(client: Callable[..., Any]) -> bool:
    cloudwatch, states = client("cloudwatch"), []
    for _ in range(2):
        cloudwatch.put_metric_alarm(
            AlarmName="state",
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            MetricName="Errors",
            Namespace="AWS/Lambda",
            Period=60,
            Statistic="Sum",
            Threshold=1,
        )
        states += [alarm["StateValue"] for alarm in cloudwatch.describe_alarms(AlarmNames=["state"])["MetricAlarms"]]
        cloudwatch.set_alarm_state(AlarmName="state", StateValue="ALARM", StateReason="x")
    return states == ["INSUFFICIENT_DATA", "ALARM"]


@probe("services-elsewhere")
def _services_elsewhere(client: Callable[..., Any]) -> bool:
    try:
        _scaling(client, "elsewhere")
    except ClientError:
        return False
    return True


MANIFEST = '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}'


@probe("ecr-image-digest")
def _image_digest(client: Callable[..., Any]) -> bool:
    ecr = client("ecr")
    ecr.create_repository(repositoryName="digest")
    image = ecr.put_image(repositoryName="digest", imageManifest=MANIFEST, imageTag="a")["image"]
    return bool(image["imageId"]["imageDigest"] == f"sha256:{hashlib.sha256(MANIFEST.encode()).hexdigest()}")


@probe("ecr-replication")
def _image_replication(client: Callable[..., Any]) -> bool:
    ecr, copies = client("ecr"), client("ecr", "eu-west-1")
    account = ecr.describe_registry()["registryId"]

    def push(repository: str, tag: str) -> None:
        ecr.put_image(
            repositoryName=repository, imageManifest=MANIFEST.replace("2", f"2 {' ' * ord(tag)}"), imageTag=tag
        )

    def replicate(region: str, prefix: str) -> None:
        rule = {
            "destinations": [{"region": region, "registryId": account}],
            "repositoryFilters": [{"filter": prefix, "filterType": "PREFIX_MATCH"}],
        }
        ecr.put_replication_configuration(replicationConfiguration={"rules": [rule]})

    for repository in ("game/server", "other"):
        ecr.create_repository(repositoryName=repository)
    push("game/server", "a")
    replicate("eu-west-1", "game/")
    push("game/server", "b")
    push("other", "b")
    # A registry has one replication configuration, so a second configuration replaces the first.
    replicate("eu-central-1", "other")
    push("game/server", "c")
    repositories = [r["repositoryName"] for r in copies.describe_repositories()["repositories"]]
    if repositories != ["game/server"]:
        return False
    images = copies.describe_images(repositoryName="game/server")["imageDetails"]
    own = ecr.describe_images(repositoryName="game/server", imageIds=[{"imageTag": "b"}])["imageDetails"]
    return [(i["imageTags"], i["imageDigest"]) for i in images] == [(["b"], own[0]["imageDigest"])]


@probe("scaling-target-tags")
def _scaling_tags(client: Callable[..., Any]) -> bool:
    try:
        scaling, arn = _scaling(client, "tagged")
        return bool(scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"Project": "arena"})
    except ClientError:
        return False


@probe("waf-in-use")
def _waf_in_use(client: Callable[..., Any]) -> bool:
    waf = client("wafv2")
    seen = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
    addresses = waf.create_ip_set(Name="own", Scope="REGIONAL", IPAddressVersion="IPV4", Addresses=[])["Summary"]
    rule = {
        "Name": "r",
        "Priority": 0,
        "Statement": {"IPSetReferenceStatement": {"ARN": addresses["ARN"]}},
        "Action": {"Block": {}},
        "VisibilityConfig": seen,
    }
    acl = waf.create_web_acl(
        Name="acl", Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=seen, Rules=[rule]
    )["Summary"]
    balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/game/1"
    waf.associate_web_acl(WebACLArn=acl["ARN"], ResourceArn=balancer)

    def deletion(call: Callable[..., Any], item: dict[str, Any]) -> str:
        try:
            call(Name=item["Name"], Scope="REGIONAL", Id=item["Id"], LockToken=item["LockToken"])
        except ClientError as failure:
            return str(failure.response["Error"]["Code"])
        return ""

    refused = [deletion(waf.delete_ip_set, addresses), deletion(waf.delete_web_acl, acl)]
    waf.disassociate_web_acl(ResourceArn=balancer)
    done = [deletion(waf.delete_web_acl, acl), deletion(waf.delete_ip_set, addresses)]
    return refused == ["WAFAssociatedItemException"] * 2 and done == ["", ""]


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    folder: Path = tmp_path_factory.mktemp("emulators")
    with Emulators(folder, corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, lambda service, region=REGION: running.client(service, region), corrected=corrected)


def test_every_correction_has_a_probe_and_the_installed_release() -> None:
    assert corrections_of("mjctl.sandbox.ministack_corrections", "mjctl.sandbox.moto_corrections") == set(probe)
