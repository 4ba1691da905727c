"""Tests that AWS's refusals to delete a resource in use are kept, and that each correction is still needed.

A probe returns True if the emulator behaves as AWS does. The probe must return False for ministack without corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(120)]

REGION = "us-east-1"
Client = Callable[..., Any]
probe = Probes[Client]()


@probe("db-final-snapshot")
def _final_snapshot(client: Client) -> bool:
    rds = client("rds")
    for name in ("one", "two"):
        rds.create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            MasterUsername="game",
            MasterUserPassword="not-a-secret",
        )

    def deletion(name: str, **options: Any) -> str:
        return error_code(lambda: rds.delete_db_cluster(DBClusterIdentifier=name, **options))

    refused = [
        deletion("one"),
        deletion("one", SkipFinalSnapshot=True, FinalDBSnapshotIdentifier="final"),
        deletion("one", FinalDBSnapshotIdentifier="final"),
        deletion("two", FinalDBSnapshotIdentifier="final"),
        deletion("two", SkipFinalSnapshot=True),
    ]
    taken = "DBClusterSnapshotAlreadyExistsFault"
    kept = error_code(lambda: rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier="final"))
    return refused == ["InvalidParameterCombination"] * 2 + ["", taken, ""] and not kept


@probe("ecs-cluster-in-use")
def _cluster(client: Client) -> bool:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="used")
    containers = [{"name": "a", "image": "a", "memory": 128}]
    ecs.register_task_definition(family="used", containerDefinitions=containers)
    ecs.create_service(cluster="used", serviceName="s", taskDefinition="used", desiredCount=0)
    refused = error_code(lambda: ecs.delete_cluster(cluster="used"))
    ecs.delete_service(cluster="used", service="s", force=True)
    return refused == "ClusterContainsServicesException" and not error_code(lambda: ecs.delete_cluster(cluster="used"))


@probe("security-group-in-use")
def _security_group(client: Client) -> bool:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    named, naming = [
        ec2.create_security_group(GroupName=name, Description="a", VpcId=vpc)["GroupId"] for name in ("named", "naming")
    ]
    rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": [{"GroupId": named}]}
    ec2.authorize_security_group_ingress(GroupId=named, IpPermissions=[rule])
    ec2.authorize_security_group_ingress(GroupId=naming, IpPermissions=[rule])
    refused = error_code(lambda: ec2.delete_security_group(GroupId=named))
    ec2.revoke_security_group_ingress(GroupId=naming, IpPermissions=[rule])
    return refused == "DependencyViolation" and not error_code(lambda: ec2.delete_security_group(GroupId=named))


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    names = ["ministack", "moto"] if request.param else ["ministack"]
    with Emulators(tmp_path_factory.mktemp("deletions"), names=names, corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, lambda service, region=REGION: running.client(service, region), corrected=corrected)


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.ministack_deletions") == set(probe)


class TestRefusalsOfTheEmulators:
    """Tests the refusals that need no correction, so that a new release of an emulator cannot drop them silently."""

    def test_a_cluster_with_instances_stays(self, emulators: tuple[bool, Emulators]) -> None:
        rds = emulators[1].client("rds", REGION)
        rds.create_db_cluster(
            DBClusterIdentifier="full",
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            MasterUsername="game",
            MasterUserPassword="not-a-secret",
        )
        rds.create_db_instance(
            DBClusterIdentifier="full",
            DBInstanceClass="db.t4g.medium",
            DBInstanceIdentifier="full-1",
            Engine="aurora-postgresql",
        )
        deletion = {"DBClusterIdentifier": "full", "SkipFinalSnapshot": True}
        assert error_code(lambda: rds.delete_db_cluster(**deletion)) == "InvalidDBClusterStateFault"

    def test_a_protected_global_cluster_stays(self, emulators: tuple[bool, Emulators]) -> None:
        rds = emulators[1].client("rds", REGION)
        rds.create_global_cluster(
            DeletionProtection=True, Engine="aurora-postgresql", EngineVersion="16.8", GlobalClusterIdentifier="g"
        )
        deletion = {"GlobalClusterIdentifier": "g"}
        assert error_code(lambda: rds.delete_global_cluster(**deletion)) == "InvalidParameterCombination"

    def test_a_bucket_with_old_versions_stays(self, emulators: tuple[bool, Emulators]) -> None:
        s3 = emulators[1].client("s3", REGION)
        s3.create_bucket(Bucket="versions")
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket="versions", Key="a", Body=b"a")
        s3.delete_object(Bucket="versions", Key="a")
        assert error_code(lambda: s3.delete_bucket(Bucket="versions")) == "BucketNotEmpty"

    def test_a_zone_with_records_stays(self, emulators: tuple[bool, Emulators]) -> None:
        route53 = emulators[1].client("route53", REGION)
        zone = route53.create_hosted_zone(Name="example.org", CallerReference="1")["HostedZone"]["Id"]
        record = {"Name": "a.example.org", "Type": "A", "TTL": 1, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
        assert error_code(lambda: route53.delete_hosted_zone(Id=zone)) == "HostedZoneNotEmpty"

    def test_a_role_with_policies_stays(self, emulators: tuple[bool, Emulators]) -> None:
        iam = emulators[1].client("iam", REGION)
        iam.create_role(RoleName="used", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        iam.put_role_policy(RoleName="used", PolicyName="p", PolicyDocument=policy)
        assert error_code(lambda: iam.delete_role(RoleName="used")) == "DeleteConflict"

    def test_a_repository_with_images_stays(self, emulators: tuple[bool, Emulators]) -> None:
        corrected, running = emulators
        if not corrected:
            pytest.skip("moto does not run")
        ecr = running.client("ecr", REGION)
        ecr.create_repository(repositoryName="used")
        manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}'
        ecr.put_image(repositoryName="used", imageManifest=manifest, imageTag="a")
        assert error_code(lambda: ecr.delete_repository(repositoryName="used")) == "RepositoryNotEmptyException"
