"""Corrections of ministack for differences from AWS that the Terraform provider notices.

Each correction is the smallest change after which a second plan of Terraform has no changes. A test for each correction
shows that ministack still needs the correction. Import this module only in the process that runs ministack, because
ministack's modules read their settings when they are imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import apigateway, dynamodb, ec2, ecs, elasticache, kms, rds, route53, secretsmanager

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]


def _cache_user_escaped() -> None:
    def make(original: Handler) -> Handler:
        return lambda user: original({**user, "AccessString": escape(user.get("AccessString", ""))})

    wrap(elasticache, "_user_xml", make)


def _instance_by_resource_id() -> None:
    def make(original: Handler) -> Handler:
        def filtered(instances: list[dict[str, Any]], filters: dict[str, list[str]]) -> list[dict[str, Any]]:
            wanted = filters.get("dbi-resource-id")
            return [i for i in original(instances, filters) if wanted is None or i.get("DbiResourceId") in wanted]

        return filtered

    wrap(rds, "_apply_instance_filters", make)


def _service_zone_rebalancing() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            answer = original(data)
            name = data.get("serviceName") or str(data.get("service", "")).rsplit("/", 1)[-1]
            cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
            service = ecs._services.get(f"{cluster}/{name}")
            if service is not None and "availabilityZoneRebalancing" in data:
                service["availabilityZoneRebalancing"] = data["availabilityZoneRebalancing"]
            return answer

        return handle

    wrap(ecs, "_create_service", make)
    wrap(ecs, "_update_service", make)


def _replica_keys() -> None:
    def make_update(original: Handler) -> Handler:
        def handle(name: str, table: dict[str, Any], updates: list[dict[str, Any]]) -> Any:
            error = original(name, table, updates)
            for update in updates:
                created = update.get("Create") or {}
                if error is None and created.get("KMSMasterKeyId"):
                    account = dynamodb.get_account_id()
                    replica = dynamodb._tables.get_scoped(account, created["RegionName"], name)
                    key = {"SSEType": "KMS", "Status": "ENABLED", "KMSMasterKeyArn": created["KMSMasterKeyId"]}
                    replica["SSEDescription"] = key
            return error

        return handle

    wrap(dynamodb, "_apply_replica_updates", make_update)


def _endpoint_groups_and_dns() -> None:
    def make_create(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            before = set(ec2._vpc_endpoints)
            answer = original(params)
            for identifier in set(ec2._vpc_endpoints) - before:
                ec2._vpc_endpoints[identifier].update(
                    SecurityGroups=ec2._parse_member_list(params, "SecurityGroupId"),
                    PrivateDns=ec2._p(params, "PrivateDnsEnabled") or "false",
                )
            return answer

        return handle

    def make_fields(original: Handler) -> Handler:
        def fields(endpoint: dict[str, Any], tag: str = "item") -> str:
            groups = "".join(
                f"<item><groupId>{group}</groupId><groupName>{group}</groupName></item>"
                for group in endpoint.get("SecurityGroups", [])
            )
            private_dns = f"<privateDnsEnabled>{endpoint.get('PrivateDns', 'false')}</privateDnsEnabled>"
            more = f"<groupSet>{groups}</groupSet>{private_dns}"
            return str(original(endpoint, tag)).replace("<state>", f"{more}<state>", 1)

        return fields

    wrap(ec2, "_create_vpc_endpoint", make_create)
    wrap(ec2, "_vpce_fields_xml", make_fields)


def _flow_log_attributes() -> None:
    def make_create(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            before = set(ec2._flow_logs)
            answer = original(params)
            for identifier in set(ec2._flow_logs) - before:
                ec2._flow_logs[identifier].update(
                    Role=ec2._p(params, "DeliverLogsPermissionArn"),
                    Interval=ec2._p(params, "MaxAggregationInterval") or "600",
                )
                ec2._parse_tag_specs(params, "vpc-flow-log", identifier)
            return answer

        return handle

    def make_describe(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            status, headers, body = original(params)
            text = body.decode() if isinstance(body, bytes) else body
            for log in ec2._flow_logs.values():
                mark = f"<flowLogId>{log['FlowLogId']}</flowLogId>"
                more = (
                    f"<deliverLogsPermissionArn>{log.get('Role', '')}</deliverLogsPermissionArn>"
                    f"<maxAggregationInterval>{log.get('Interval', '600')}</maxAggregationInterval>"
                )
                text = text.replace(mark, mark + more)
            return status, headers, text.encode()

        return handle

    wrap(ec2, "_create_flow_logs", make_create)
    wrap(ec2, "_describe_flow_logs", make_describe)


def _secret_replicas_at_creation() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            answer = original(data)
            if answer[0] == 200 and data.get("AddReplicaRegions"):
                secretsmanager._replicate_secret_to_regions({**data, "SecretId": data["Name"]})
            return answer

        return handle

    wrap(secretsmanager, "_create_secret", make)


def _authorizer_without_payload_version() -> None:
    def make(original: Handler) -> Handler:
        def handle(api_id: str, data: dict[str, Any]) -> Any:
            answer = original(api_id, data)
            if data.get("authorizerType") == "JWT":
                for authorizer in apigateway._authorizers.get(api_id, {}).values():
                    if authorizer["authorizerType"] == "JWT":
                        authorizer.pop("authorizerPayloadFormatVersion", None)
            return answer

        return handle

    wrap(apigateway, "_create_authorizer", make)


def _cache_parameters_by_source() -> None:
    def make_modify(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            name = elasticache._p(params, "CacheParameterGroupName")
            before = {k: dict(v) for k, v in elasticache._param_group_params.get(name, {}).items()}
            answer = original(params)
            for parameter, value in elasticache._param_group_params.get(name, {}).items():
                if before.get(parameter, {}).get("Value") != value.get("Value"):
                    value["Source"] = "user"
            return answer

        return handle

    def make_describe(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            source = elasticache._p(params, "Source")
            name = elasticache._p(params, "CacheParameterGroupName")
            everything = elasticache._param_group_params.get(name, {})
            if not source or not everything:
                return original(params)
            elasticache._param_group_params[name] = {k: v for k, v in everything.items() if v.get("Source") == source}
            try:
                return original(params)
            finally:
                elasticache._param_group_params[name] = everything

        return handle

    wrap(elasticache, "_modify_cache_parameter_group", make_modify)
    wrap(elasticache, "_describe_cache_parameters", make_describe)


def _cache_key_and_upgrades() -> None:
    def make_create(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            answer = original(params)
            group = elasticache._replication_groups.get(elasticache._p(params, "ReplicationGroupId"))
            if group is not None:
                group["KmsKeyId"] = elasticache._p(params, "KmsKeyId")
            return answer

        return handle

    def make_xml(original: Handler) -> Handler:
        def xml(group: dict[str, Any]) -> str:
            key = group.get("KmsKeyId")
            return str(original(group)) + (f"<KmsKeyId>{key}</KmsKeyId>" if key else "")

        return xml

    def make_node_xml(original: Handler) -> Handler:
        def xml(node: dict[str, Any]) -> str:
            upgrades = str(node.get("AutoMinorVersionUpgrade", True)).lower()
            return str(original(node)) + f"<AutoMinorVersionUpgrade>{upgrades}</AutoMinorVersionUpgrade>"

        return xml

    wrap(elasticache, "_create_replication_group", make_create)
    wrap(elasticache, "_rg_xml", make_xml)
    wrap(elasticache, "_cluster_xml_inner", make_node_xml)


def _cache_user_log_in() -> None:
    def make(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            answer = original(params)
            user = elasticache._users.get(elasticache._p(params, "UserId"))
            if user is None or elasticache._p(params, "AuthenticationMode.Type") != "iam":
                return answer
            user["Authentication"] = {"Type": "iam", "PasswordCount": 0}
            status, headers, body = answer
            return status, headers, body.replace(b"<Type>no-password</Type>", b"<Type>iam</Type>")

        return handle

    wrap(elasticache, "_create_user", make)


def _managed_keys() -> None:
    def make(original: Handler) -> Handler:
        def resolve(reference: str) -> Any:
            key = original(reference)
            alias = reference.rsplit(":", 1)[-1] if reference else ""
            if key is not None or not alias.startswith("alias/aws/"):
                return key
            _, _, body = kms._create_key({"Description": f"Default key of {alias.removeprefix('alias/aws/')}"})
            kms._aliases[kms._alias_arn(alias)] = json.loads(body)["KeyMetadata"]["KeyId"]
            return original(reference)

        return resolve

    wrap(kms, "_resolve_key", make)


def _cluster_log_exports() -> None:
    def make_handle(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            answer = original(params)
            cluster = rds._clusters.get(rds._p(params, "DBClusterIdentifier"))
            exports = rds._parse_member_list(params, "EnableCloudwatchLogsExports") or rds._parse_member_list(
                params, "CloudwatchLogsExportConfiguration.EnableLogTypes"
            )
            if cluster is not None and exports:
                cluster["EnabledCloudwatchLogsExports"] = exports
            return answer

        return handle

    def make_xml(original: Handler) -> Handler:
        def xml(cluster: dict[str, Any]) -> str:
            exports = "".join(f"<member>{log}</member>" for log in cluster.get("EnabledCloudwatchLogsExports") or [])
            return str(original(cluster)) + f"<EnabledCloudwatchLogsExports>{exports}</EnabledCloudwatchLogsExports>"

        return xml

    wrap(rds, "_create_db_cluster", make_handle)
    wrap(rds, "_modify_db_cluster", make_handle)
    wrap(rds, "_cluster_xml", make_xml)


def _cluster_endpoints_stay() -> None:
    wrap(rds, "_sync_cluster_endpoints", lambda _original: lambda _cluster: None)


def _performance_insights_key() -> None:
    def make_handle(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            answer = original(params)
            instance = rds._instances.get(rds._p(params, "DBInstanceIdentifier"))
            if instance is not None:
                instance["PerformanceInsightsKMSKeyId"] = rds._p(params, "PerformanceInsightsKMSKeyId")
            return answer

        return handle

    def make_xml(original: Handler) -> Handler:
        def xml(instance: dict[str, Any]) -> str:
            key = instance.get("PerformanceInsightsKMSKeyId", "")
            return str(original(instance)) + f"<PerformanceInsightsKMSKeyId>{key}</PerformanceInsightsKMSKeyId>"

        return xml

    wrap(rds, "_create_db_instance", make_handle)
    wrap(rds, "_instance_xml", make_xml)


def _secret_replicas_removed() -> None:
    def make(original: Handler) -> Handler:
        async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
            if not headers.get("x-amz-target", "").endswith(".RemoveRegionsFromReplication"):
                return await original(method, path, headers, body, query)
            data = json.loads(body)
            _, secret = secretsmanager._resolve(data["SecretId"])
            removed = set(data["RemoveReplicaRegions"])
            for region in removed:
                secretsmanager._secrets.pop_scoped(secretsmanager.get_account_id(), region, secret["Name"], None)
            kept = [status for status in secret["ReplicationStatus"] if status["Region"] not in removed]
            secret["ReplicationStatus"] = kept
            return secretsmanager.json_response({"ARN": secret["ARN"], "ReplicationStatus": kept})

        return handle

    wrap(secretsmanager, "handle_request", make)


def _health_check_booleans() -> None:
    def make(original: Handler) -> Handler:
        def build(parent: Any, health_check: dict[str, Any]) -> None:
            original(parent, health_check)
            for name in ("Disabled", "EnableSNI", "Inverted", "MeasureLatency"):
                for element in parent.iter(name):
                    element.text = str(element.text).lower()

        return build

    wrap(route53, "_build_health_check_el", make)


def _zone_without_dnssec() -> None:
    def make(original: Handler) -> Handler:
        async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
            if method == "GET" and path.endswith("/dnssec"):
                status = "<Status><ServeSignature>NOT_SIGNING</ServeSignature></Status><KeySigningKeys/>"
                answer = f'<GetDNSSECResponse xmlns="{route53.NS}">{status}</GetDNSSECResponse>'
                return 200, {"Content-Type": "text/xml"}, answer.encode()
            return await original(method, path, headers, body, query)

        return handle

    wrap(route53, "handle_request", make)


CORRECTIONS = (
    ministack_correction(
        "authorizer-payload-version",
        "API Gateway returns a payload format version for JWT authorizers, which only Lambda authorizers have",
        _authorizer_without_payload_version,
    ),
    ministack_correction(
        "cache-key-and-upgrades",
        "ElastiCache does not return a replication group's KMS key, nor AutoMinorVersionUpgrade of the group's nodes",
        _cache_key_and_upgrades,
    ),
    ministack_correction(
        "cache-parameters-by-source",
        "ElastiCache DescribeCacheParameters ignores Source and returns default values as user settings",
        _cache_parameters_by_source,
    ),
    ministack_correction(
        "cache-user-escaped",
        "ElastiCache CreateUser does not escape the access string: `&*` breaks the XML",
        _cache_user_escaped,
    ),
    ministack_correction(
        "cache-user-log-in", "ElastiCache does not return that a user logs in by IAM", _cache_user_log_in
    ),
    ministack_correction(
        "db-cluster-endpoints",
        "RDS replaces a cluster's endpoints by 127.0.0.1 when the cluster gets an instance",
        _cluster_endpoints_stay,
    ),
    ministack_correction(
        "db-cluster-log-exports", "RDS does not return the logs that a cluster exports", _cluster_log_exports
    ),
    ministack_correction(
        "db-instance-filter",
        "RDS DescribeDBInstances ignores the filter dbi-resource-id, so a wait for a deletion never ends",
        _instance_by_resource_id,
    ),
    ministack_correction(
        "db-performance-insights-key", "RDS does not return Performance Insights' KMS key", _performance_insights_key
    ),
    ministack_correction(
        "dynamodb-replica-key", "DynamoDB gives a replica the primary region's KMS key", _replica_keys
    ),
    ministack_correction(
        "ecs-zone-rebalancing", "ECS does not return availabilityZoneRebalancing", _service_zone_rebalancing
    ),
    ministack_correction(
        "endpoint-groups",
        "EC2 does not return the security groups and the private DNS of an interface endpoint",
        _endpoint_groups_and_dns,
    ),
    ministack_correction(
        "flow-log-attributes", "EC2 does not return a flow log's role, interval and tags", _flow_log_attributes
    ),
    ministack_correction(
        "health-check-booleans",
        "Route 53 writes the booleans of a health check as `True`, which the SDK reads as false",
        _health_check_booleans,
    ),
    ministack_correction("managed-keys", "KMS has no AWS managed keys (alias/aws/...)", _managed_keys),
    ministack_correction(
        "secret-replicas", "Secrets Manager CreateSecret ignores AddReplicaRegions", _secret_replicas_at_creation
    ),
    ministack_correction(
        "secret-replicas-removed", "Secrets Manager has no RemoveRegionsFromReplication", _secret_replicas_removed
    ),
    ministack_correction(
        "zone-dnssec",
        "Route 53 has no operation GetDNSSEC, which the Terraform provider calls when it deletes a zone",
        _zone_without_dnssec,
    ),
)
