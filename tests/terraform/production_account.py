"""Creates the resources of production's plans in an emulated AWS, so that functions and game servers can run there.

The stores have one node each, and one security group that allows all connections inside the VPC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gameserver.runtime import distribution_pass
from tests.tiny_game import eventually
from tools.plan_model import UNKNOWN, Plan, Resource

PASSWORD = "The-first-password-of-the-master-9"
DISTRIBUTION_PASS = "the-pass-of-the-distribution"
_START_SECONDS = 60.0

Json = dict[str, Any]


class Foundation:
    """Creates the resources of the stack `foundation`, and gives the region their ids.

    Attributes:
        secret_arn: ARN of the secret with the master user's password.
        user_pool_id: id of the user pool.
        client_id: id of the app client.
        keys: id of the KMS key of each purpose.
    """

    def __init__(self, client: Callable[[str], Any], plan: Plan) -> None:
        self._client, self._plan = client, plan
        self.keys = {str(key.key): self._create_key(key) for key in plan.resources("aws_kms_key")}
        self._create_tables()
        secrets = {
            secret.get("name"): self._create_secret(secret) for secret in plan.resources("aws_secretsmanager_secret")
        }
        self.secret_arn = secrets[one(plan, "aws_secretsmanager_secret", "database_global").get("name")]
        self.user_pool_id = self._create_user_pool()
        self.client_id = self._create_client()

    def _create_key(self, key: Resource) -> str:
        # Terraform shows an unset usage or type of a key as unknown.
        kinds = {"KeySpec": key.get("customer_master_key_spec"), "KeyUsage": key.get("key_usage")}
        created = self._client("kms").create_key(
            Description=key.get("description"),
            MultiRegion=bool(key.get("multi_region")),
            Policy=key.get("policy"),
            **{name: value for name, value in kinds.items() if value and value is not UNKNOWN},
        )
        return str(created["KeyMetadata"]["KeyId"])

    def _create_secret(self, secret: Resource) -> str:
        """Create a secret. mjctl writes the accepted passes of the distribution into one of the secrets."""
        name = secret.get("name")
        passes = distribution_pass.encode([distribution_pass.digest(DISTRIBUTION_PASS)])
        created = self._client("secretsmanager").create_secret(
            Name=name,
            KmsKeyId=self.keys["storage"],
            SecretString=passes if name.endswith("distribution-passes") else json.dumps({"password": PASSWORD}),
        )
        return str(created["ARN"])

    def _create_tables(self) -> None:
        for table in self._plan.resources("aws_dynamodb_table"):
            indexes = [
                {
                    "IndexName": index["name"],
                    "KeySchema": _key_schema(index),
                    "Projection": {"ProjectionType": index["projection_type"]},
                }
                for index in table.blocks("global_secondary_index")
            ]
            self._client("dynamodb").create_table(
                TableName=table.get("name"),
                AttributeDefinitions=[
                    {"AttributeName": attribute["name"], "AttributeType": attribute["type"]}
                    for attribute in table.blocks("attribute")
                ],
                BillingMode=table.get("billing_mode"),
                KeySchema=_key_schema({"hash_key": table.get("hash_key"), "range_key": table.get("range_key")}),
                SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": self.keys["storage"]},
                **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
            )

    def _create_user_pool(self) -> str:
        identity = one(self._plan, "aws_sesv2_email_identity", "mail").get("email_identity")
        ses = self._client("sesv2")
        ses.create_email_identity(EmailIdentity=identity)
        for configuration in self._plan.resources("aws_sesv2_configuration_set"):
            ses.create_configuration_set(ConfigurationSetName=configuration.get("configuration_set_name"))
        pool = one(self._plan, "aws_cognito_user_pool", "identity")
        cognito = self._client("cognito-idp")
        policy = pool.blocks("password_policy")[0]
        created = cognito.create_user_pool(
            PoolName=pool.get("name"),
            AccountRecoverySetting={
                "RecoveryMechanisms": [
                    {"Name": mechanism["name"], "Priority": mechanism["priority"]}
                    for mechanism in pool.get("account_recovery_setting.0.recovery_mechanism")
                ]
            },
            AdminCreateUserConfig={
                "AllowAdminCreateUserOnly": pool.get("admin_create_user_config.0.allow_admin_create_user_only")
            },
            AutoVerifiedAttributes=pool.get("auto_verified_attributes"),
            EmailConfiguration={
                "EmailSendingAccount": "DEVELOPER",
                "From": f"no-reply@{identity}",
                "SourceArn": f"arn:aws:ses:{self._plan.region}:{account_of(self._client)}:identity/{identity}",
            },
            Policies={
                "PasswordPolicy": {
                    "MinimumLength": policy["minimum_length"],
                    "RequireLowercase": policy["require_lowercase"],
                    "RequireNumbers": policy["require_numbers"],
                    "RequireSymbols": policy["require_symbols"],
                    "RequireUppercase": policy["require_uppercase"],
                }
            },
            UserPoolTier=pool.get("user_pool_tier"),
            UsernameAttributes=pool.get("username_attributes"),
            UsernameConfiguration={"CaseSensitive": pool.get("username_configuration.0.case_sensitive")},
        )["UserPool"]["Id"]
        cognito.set_user_pool_mfa_config(
            UserPoolId=created,
            MfaConfiguration=pool.get("mfa_configuration"),
            SoftwareTokenMfaConfiguration={"Enabled": pool.get("software_token_mfa_configuration.0.enabled")},
        )
        for group in self._plan.resources("aws_cognito_user_group"):
            cognito.create_group(GroupName=group.get("name"), UserPoolId=created)
        return str(created)

    def _create_client(self) -> str:
        client = one(self._plan, "aws_cognito_user_pool_client", "identity")
        units = client.blocks("token_validity_units")[0]
        rotation = client.blocks("refresh_token_rotation")[0]
        created = self._client("cognito-idp").create_user_pool_client(
            ClientName=client.get("name"),
            UserPoolId=self.user_pool_id,
            EnableTokenRevocation=client.get("enable_token_revocation"),
            ExplicitAuthFlows=client.get("explicit_auth_flows"),
            GenerateSecret=client.get("generate_secret"),
            PreventUserExistenceErrors=client.get("prevent_user_existence_errors"),
            AccessTokenValidity=client.get("access_token_validity"),
            IdTokenValidity=client.get("id_token_validity"),
            RefreshTokenRotation={
                "Feature": rotation["feature"],
                "RetryGracePeriodSeconds": rotation["retry_grace_period_seconds"],
            },
            RefreshTokenValidity=client.get("refresh_token_validity"),
            TokenValidityUnits={
                "AccessToken": units["access_token"],
                "IdToken": units["id_token"],
                "RefreshToken": units["refresh_token"],
            },
            WriteAttributes=client.get("write_attributes"),
        )
        return str(created["UserPoolClient"]["ClientId"])


class RegionStores:
    """Creates the network, the caches, the database, the queues and the topics of a region.

    Attributes:
        subnets: ids of the private subnets.
        group: id of the security group of all resources.
        known: the attributes of the stores that Terraform learns at an apply, by the address of the resource.
    """

    def __init__(self, client: Callable[[str], Any], plan: Plan) -> None:
        self._client, self._plan = client, plan
        self.known: dict[str, Json] = {}
        self._create_network()
        self._create_database()
        for module in ("state", "cache"):
            self._create_cache(module)
        self._create_queues()
        self._wait_for_stores()

    def names(self) -> set[str]:
        """Return the host names of the stores."""
        keys = ("configuration_endpoint_address", "primary_endpoint_address", "endpoint", "reader_endpoint")
        return {attributes[key] for attributes in self.known.values() for key in keys if key in attributes}

    def _create_network(self) -> None:
        ec2 = self._client("ec2")
        vpc = one(self._plan, "aws_vpc", "network")
        vpc_id = ec2.create_vpc(CidrBlock=vpc.get("cidr_block"))["Vpc"]["VpcId"]
        self._subnets = {
            name: [
                ec2.create_subnet(
                    VpcId=vpc_id,
                    CidrBlock=subnet.get("cidr_block"),
                    AvailabilityZone=subnet.get("availability_zone"),
                )["Subnet"]["SubnetId"]
                for subnet in self._plan.resources("aws_subnet")
                if subnet.name == name
            ]
            for name in ("private", "data")
        }
        self.subnets = self._subnets["private"]
        self.group = ec2.create_security_group(GroupName="all", Description="all", VpcId=vpc_id)["GroupId"]
        inside = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": vpc.get("cidr_block")}]}
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[inside])

    def _create_database(self) -> None:
        rds = self._client("rds")
        parameters = one(self._plan, "aws_rds_cluster_parameter_group", "database")
        rds.create_db_cluster_parameter_group(
            DBClusterParameterGroupName=parameters.get("name"),
            DBParameterGroupFamily=parameters.get("family"),
            Description=parameters.get("description"),
        )
        rds.modify_db_cluster_parameter_group(
            DBClusterParameterGroupName=parameters.get("name"),
            Parameters=[
                {"ParameterName": p["name"], "ParameterValue": p["value"], "ApplyMethod": p["apply_method"]}
                for p in parameters.blocks("parameter")
            ],
        )
        cluster = one(self._plan, "aws_rds_cluster", "database")
        rds.create_db_subnet_group(
            DBSubnetGroupName=cluster.get("db_subnet_group_name"),
            DBSubnetGroupDescription="data",
            SubnetIds=self._subnets["data"],
        )
        rds.create_db_cluster(
            DBClusterIdentifier=cluster.get("cluster_identifier"),
            DBClusterParameterGroupName=cluster.get("db_cluster_parameter_group_name"),
            DBSubnetGroupName=cluster.get("db_subnet_group_name"),
            DatabaseName=cluster.get("database_name"),
            EnableIAMDatabaseAuthentication=cluster.get("iam_database_authentication_enabled"),
            Engine=cluster.get("engine"),
            EngineVersion=cluster.get("engine_version"),
            MasterUserPassword=PASSWORD,
            MasterUsername=cluster.get("master_username"),
            VpcSecurityGroupIds=[self.group],
        )
        instance = self._plan.resources("aws_rds_cluster_instance")[0]
        rds.create_db_instance(
            AvailabilityZone=instance.get("availability_zone"),
            DBClusterIdentifier=cluster.get("cluster_identifier"),
            DBInstanceClass=instance.get("instance_class"),
            DBInstanceIdentifier=instance.get("identifier"),
            Engine=instance.get("engine"),
        )
        created = rds.describe_db_clusters(DBClusterIdentifier=cluster.get("cluster_identifier"))["DBClusters"][0]
        self.known[cluster.address] = {
            "arn": created["DBClusterArn"],
            "endpoint": created["Endpoint"],
            "id": created["DBClusterIdentifier"],
            "port": 5432,
            "reader_endpoint": created["ReaderEndpoint"],
        }

    def _create_cache(self, module: str) -> None:
        cache = self._client("elasticache")
        for user in self._plan.resources("aws_elasticache_user"):
            if user.module == (module,):
                by_iam = {"AuthenticationMode": {"Type": "iam"}}
                cache.create_user(
                    AccessString=user.get("access_string"),
                    Engine=user.get("engine"),
                    UserId=user.get("user_id"),
                    UserName=user.get("user_name"),
                    **({"NoPasswordRequired": True} if user.get("no_password_required") else by_iam),
                )
        users = one(self._plan, "aws_elasticache_user_group", module)
        cache.create_user_group(
            Engine=users.get("engine"), UserGroupId=users.get("user_group_id"), UserIds=users.get("user_ids")
        )
        parameters = one(self._plan, "aws_elasticache_parameter_group", module)
        cache.create_cache_parameter_group(
            CacheParameterGroupFamily=parameters.get("family"),
            CacheParameterGroupName=parameters.get("name"),
            Description=parameters.get("description"),
        )
        cache.modify_cache_parameter_group(
            CacheParameterGroupName=parameters.get("name"),
            ParameterNameValues=[
                {"ParameterName": p["name"], "ParameterValue": p["value"]} for p in parameters.blocks("parameter")
            ],
        )
        group = one(self._plan, "aws_elasticache_replication_group", module)
        cache.create_cache_subnet_group(
            CacheSubnetGroupDescription="data",
            CacheSubnetGroupName=group.get("subnet_group_name"),
            SubnetIds=self._subnets["data"],
        )
        shards = group.get("cluster_mode")
        sharded = {"ClusterMode": "enabled", "NumNodeGroups": 1, "ReplicasPerNodeGroup": 0}
        cache.create_replication_group(
            AutomaticFailoverEnabled=shards == "enabled",
            CacheNodeType=group.get("node_type"),
            CacheParameterGroupName=group.get("parameter_group_name"),
            CacheSubnetGroupName=group.get("subnet_group_name"),
            Engine=group.get("engine"),
            EngineVersion=group.get("engine_version"),
            ReplicationGroupDescription=group.get("description"),
            ReplicationGroupId=group.get("replication_group_id"),
            SecurityGroupIds=[self.group],
            TransitEncryptionEnabled=group.get("transit_encryption_enabled"),
            UserGroupIds=group.get("user_group_ids"),
            **(sharded if shards == "enabled" else {"NumCacheClusters": 1}),
        )
        self.known[group.address] = {"id": group.get("replication_group_id")}

    def _create_queues(self) -> None:
        sqs, sns = self._client("sqs"), self._client("sns")
        queues, topics = self._plan.resources("aws_sqs_queue"), self._plan.resources("aws_sns_topic")
        policies = {r.key: r.get("policy") for r in self._plan.resources("aws_sqs_queue_policy")}
        account = account_of(self._client)
        for queue in sorted((q for q in queues if q.module == ("events",)), key=lambda q: q.name):
            attributes = {
                "KmsMasterKeyId": queue.get("kms_master_key_id"),
                "MessageRetentionPeriod": str(queue.get("message_retention_seconds")),
            }
            if queue.name == "queue":
                dead = f"arn:aws:sqs:{self._plan.region}:{account}:{queue.get('name')}-dlq"
                attributes |= {
                    "Policy": policies[queue.key],
                    "ReceiveMessageWaitTimeSeconds": str(queue.get("receive_wait_time_seconds")),
                    "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 5}),
                    "VisibilityTimeout": str(queue.get("visibility_timeout_seconds")),
                }
            url = sqs.create_queue(QueueName=queue.get("name"), Attributes=attributes)["QueueUrl"]
            if queue.name == "queue":
                arn = f"arn:aws:sqs:{self._plan.region}:{account}:{queue.get('name')}"
                self.known[queue.address] = {"arn": arn, "id": url, "url": url}
        for topic in (t for t in topics if t.module == ("events",)):
            attributes = {"KmsMasterKeyId": topic.get("kms_master_key_id")}
            arn = sns.create_topic(Name=topic.get("name"), Attributes=attributes)["TopicArn"]
            self.known[topic.address] = {"arn": arn, "id": arn}
        for subscription in self._plan.resources("aws_sns_topic_subscription"):
            if subscription.module == ("events",):
                topic, _, queue = str(subscription.key).partition("-")
                sns.subscribe(
                    TopicArn=self.known[f'module.events.aws_sns_topic.topic["{topic}"]']["arn"],
                    Protocol=subscription.get("protocol"),
                    Endpoint=self.known[f'module.events.aws_sqs_queue.queue["{queue}"]']["arn"],
                    Attributes={"RawMessageDelivery": str(subscription.get("raw_message_delivery")).lower()},
                )

    def _wait_for_stores(self) -> None:
        for resource, attributes in self.known.items():
            if "aws_elasticache_replication_group" in resource:
                group = eventually(lambda name=attributes["id"]: self._available_cache(name), _START_SECONDS)
                if "ConfigurationEndpoint" in group:
                    attributes["configuration_endpoint_address"] = group["ConfigurationEndpoint"]["Address"]
                else:
                    shard = group["NodeGroups"][0]
                    attributes["primary_endpoint_address"] = shard["PrimaryEndpoint"]["Address"]
        eventually(self._available_database, _START_SECONDS)

    def _available_cache(self, name: str) -> Any:
        described = self._client("elasticache").describe_replication_groups(ReplicationGroupId=name)
        group = described["ReplicationGroups"][0]
        return group if group["Status"] == "available" else None

    def _available_database(self) -> bool:
        instances = self._client("rds").describe_db_instances()["DBInstances"]
        return all(instance["DBInstanceStatus"] == "available" for instance in instances)


def one(plan: Plan, kind: str, module: str) -> Resource:
    """Return the only resource of a type in a module."""
    (resource,) = (r for r in plan.resources(kind) if r.module == (module,))
    return resource


def _key_schema(keys: Mapping[str, Any]) -> list[dict[str, str]]:
    kinds = (("hash_key", "HASH"), ("range_key", "RANGE"))
    return [{"AttributeName": keys[name], "KeyType": kind} for name, kind in kinds if keys.get(name)]


def account_of(client: Callable[[str], Any]) -> str:
    return str(client("sts").get_caller_identity()["Account"])
