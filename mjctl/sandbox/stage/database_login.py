"""Decides in ministack's process whether a user may log in to an emulated Aurora cluster by IAM.

The door of the databases (mjctl.sandbox.stage.database_door) sends the token of a client to ministack's process.
The rules of AWS: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

from mjctl.sandbox.stage import database_records
from mjctl.sandbox.stage.database_records import ClusterScope, Record


def refusal(scope: ClusterScope, user: str, token: str) -> str | None:
    """Return the reason for which Aurora refuses a log-in by IAM, without the token, or None if Aurora allows it.

    Args:
        scope: The cluster of the server to which the client has connected.
        user: The name of the role in PostgreSQL.
        token: The password of the log-in: the URL of a request that the client's IAM role has signed, without
            `https://`.
    """
    from ministack.core import rds_iam
    from ministack.core.responses import request_scope

    host = token.partition("/")[0].rpartition(":")[0]
    target = _cluster_with_endpoint(scope, host)
    if target is None:
        return f"the token of the user {user!r} is for another host"
    record = database_records.cluster_of(target) or {}
    if not record.get("IAMDatabaseAuthenticationEnabled"):
        return "IAM database authentication is not enabled for the cluster"
    with request_scope(target.account, target.region):
        verified = rds_iam.verify_rds_iam_token(
            token,
            hostname=host,
            port=int(record.get("Port") or database_records.PORT),
            db_user=user,
            region=target.region,
            account_id=target.account,
        )
        if isinstance(verified, rds_iam.RdsIamTokenError):
            return f"the token of the user {user!r} is not valid: {verified.code}"
        return _missing_permission(target, record, user, verified.access_key_id)


def _missing_permission(scope: ClusterScope, record: Record, user: str, access_key_id: str) -> str | None:
    from ministack.core import iam_evaluator as iam

    # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.IAMPolicy.html
    resource = f"arn:aws:rds-db:{scope.region}:{scope.account}:dbuser:{record['DbClusterResourceId']}/{user}"
    # mjctl.sandbox.stage.calls records the decision.
    denied = iam.enforce(access_key_id, "rds-db:connect", "rds-db", scope.region, resource)
    if denied is None:
        return None
    if isinstance(denied, iam.AuthError):
        return str(denied.message)
    return f"{denied.principal_arn} is not authorized to perform rds-db:connect on {resource}: {denied.decision}"


def _cluster_with_endpoint(scope: ClusterScope, host: str) -> ClusterScope | None:
    """Return the cluster with the endpoint `host`: the cluster `scope`, or a cluster of the same global database.

    The stage connects a client of a secondary cluster to the writer of the global database, see
    `DatabaseNodes._forwarded`. The client's token is for an endpoint of the secondary cluster.
    """
    own = database_records.cluster_of(scope)
    if own is None:
        return None
    global_cluster = database_records.global_cluster_of(scope, own) or {}
    scopes = [scope]
    for member in global_cluster.get("GlobalClusterMembers", []):
        parts = str(member["DBClusterArn"]).split(":")
        scopes.append(ClusterScope(parts[4], parts[3], parts[6]))
    return next((cluster for cluster in scopes if host.lower() in _endpoints(cluster)), None)


def _endpoints(scope: ClusterScope) -> set[str]:
    record = database_records.cluster_of(scope)
    if record is None:
        return set()
    instances = database_records.instances_of(scope, record).values()
    names = [record.get("Endpoint"), record.get("ReaderEndpoint")]
    names += [(instance.get("Endpoint") or {}).get("Address") for instance in instances]
    return {str(name).lower() for name in names if name}
