"""Corrections of ministack's deletions: AWS refuses to delete a resource that other resources still use.

The docstring of `ministack_corrections` explains the rules for corrections. Import this module only in the process that
runs ministack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import ec2, ecs, rds

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]


def _final_snapshots() -> None:
    def make(original: Handler) -> Handler:
        def delete(parameters: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBCluster.html
            skipped = rds._p(parameters, "SkipFinalSnapshot") == "true"
            name = rds._p(parameters, "FinalDBSnapshotIdentifier")
            cluster = rds._resolve_cluster_in_request_region(rds._p(parameters, "DBClusterIdentifier"))
            if cluster is None or cluster.get("DeletionProtection"):
                return original(parameters)
            if skipped and name:
                text = "FinalDBSnapshotIdentifier cannot be specified when deleting a cluster with SkipFinalSnapshot"
                return rds._error("InvalidParameterCombination", text, 400)
            if not skipped and not name:
                text = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
                return rds._error("InvalidParameterCombination", text, 400)
            if name in rds._db_cluster_snapshots:
                text = f"Cannot create the cluster snapshot because one with the identifier {name} already exists."
                return rds._error("DBClusterSnapshotAlreadyExistsFault", text, 400)
            answer = original(parameters)
            if answer[0] == 200 and name:
                rds._create_cluster_snapshot_internal(name, cluster)
            return answer

        return delete

    wrap(rds, "_delete_db_cluster", make)


def _clusters_with_services() -> None:
    def make(original: Handler) -> Handler:
        def delete(data: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
            name = ecs._resolve_cluster_name(data.get("cluster", "default"))
            services = [key for key, service in ecs._services.items() if service.get("status") != "INACTIVE"]
            if any(key.partition("/")[0] == name for key in services):
                text = "The Cluster cannot be deleted while Services are active."
                return ecs.error_response_json("ClusterContainsServicesException", text, 400)
            tasks = [task for task in list(ecs._tasks.values()) if task.get("lastStatus") != "STOPPED"]
            if any(ecs._cluster_name_from_arn(task["clusterArn"]) == name for task in tasks):
                text = "The Cluster cannot be deleted while Tasks are active."
                return ecs.error_response_json("ClusterContainsTasksException", text, 400)
            return original(data)

        return delete

    wrap(ecs, "_delete_cluster", make)


def _referenced_groups() -> None:
    def make(original: Handler) -> Handler:
        def delete(parameters: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html
            identifier = ec2._p(parameters, "GroupId")
            if identifier in ec2._security_groups and any(
                pair.get("GroupId") == identifier
                for other, group in list(ec2._security_groups.items())
                if other != identifier
                for rules in ("IpPermissions", "IpPermissionsEgress")
                for rule in group.get(rules) or []
                for pair in rule.get("UserIdGroupPairs") or []
            ):
                return ec2._error("DependencyViolation", f"resource {identifier} has a dependent object", 400)
            return original(parameters)

        return delete

    wrap(ec2, "_delete_security_group", make)


CORRECTIONS = (
    ministack_correction(
        "db-final-snapshot",
        "RDS deletes a cluster without the final snapshot, and although the snapshot's name is missing or in use",
        _final_snapshots,
    ),
    ministack_correction(
        "ecs-cluster-in-use", "ECS deletes a cluster that has services or tasks", _clusters_with_services
    ),
    ministack_correction(
        "security-group-in-use",
        "EC2 deletes a security group to which a rule of another security group refers",
        _referenced_groups,
    ),
)
