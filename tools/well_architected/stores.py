"""Defines the rules of production about databases, tables, Redis and backups."""

from __future__ import annotations

import re

from tools.well_architected.rules import (
    Plans,
    Report,
    at_least,
    customer_key,
    every,
    known_list,
    regional,
    rule,
    statements,
)


@rule
def regions_are_maintained_on_different_days(plans: Plans, report: Report) -> None:
    """Require that AWS maintains databases and stores of two regions on different days [REL-10].

    AWS replaces or restarts nodes in a maintenance window. With the same day in all regions, the stores of every region
    would fail over in the same night.
    """
    days: dict[str, set[str]] = {}
    resources = []
    for resource in every(plans, "aws_rds_cluster", "aws_elasticache_replication_group"):
        window = resource.get("preferred_maintenance_window") or resource.get("maintenance_window")
        day = window.partition(":")[0] if isinstance(window, str) else ""
        days.setdefault(day, set()).add(resource.plan.region)
        resources.append((resource, day))
    for resource, day in resources:
        report.expect(day != "", resource, "has no maintenance window")
        report.expect(len(days[day]) == 1, resource, "is maintained on the same day as another region")


@rule
def tables_are_backed_up_and_encrypted(plans: Plans, report: Report) -> None:
    """Require recovery, encryption, deletion protection and time to live for tables and replicas [REL-9, SEC-8.3]."""
    for table in every(plans, "aws_dynamodb_table"):
        report.expect(table.get("point_in_time_recovery.0.enabled"), table, "no point-in-time recovery")
        report.expect(table.get("server_side_encryption.0.enabled"), table, "not encrypted with a customer key")
        report.expect(customer_key(table, "server_side_encryption.0.kms_key_arn"), table, "not a customer key")
        report.expect(table.get("deletion_protection_enabled"), table, "no deletion protection")
        report.expect(table.get("ttl.0.enabled"), table, "no time to live")
    tables = list(every(plans, "aws_dynamodb_table"))
    for plan in regional(plans):
        replicas = plan.resources("aws_dynamodb_table_replica")
        for replica in replicas:
            report.expect(replica.get("point_in_time_recovery"), replica, "no point-in-time recovery")
            report.expect(customer_key(replica, "kms_key_arn"), replica, "not a customer key of its region")
            report.expect(replica.get("deletion_protection_enabled"), replica, "no deletion protection")
        if plan.region != tables[0].plan.region:
            keys = {replica.key for replica in replicas}
            report.expect(keys == {table.key for table in tables}, plan, "a table has no replica in this region")


@rule
def the_cache_fails_over_and_is_encrypted(plans: Plans, report: Report) -> None:
    """Require zones, failover, encryption, snapshots and log-in by IAM for the cache [GAMEREL02, SEC-8.3, SEC-9.3]."""
    for cache in every(plans, "aws_elasticache_replication_group"):
        report.expect(cache.get("multi_az_enabled"), cache, "one zone only")
        report.expect(cache.get("automatic_failover_enabled"), cache, "no failover")
        in_cluster_mode = cache.get("cluster_mode") == "enabled"
        nodes, fewest = ("replicas_per_node_group", 1) if in_cluster_mode else ("num_cache_clusters", 2)
        report.expect(at_least(cache.get(nodes), fewest), cache, "no replica")
        report.expect(cache.get("at_rest_encryption_enabled") in ("true", True), cache, "not encrypted at rest")
        report.expect(customer_key(cache, "kms_key_id"), cache, "not a customer key")
        report.expect(cache.get("transit_encryption_enabled"), cache, "not encrypted in transit")
        report.expect(at_least(cache.get("snapshot_retention_limit"), 1), cache, "no snapshots")
        # A node type that waits for the maintenance window would be reported as changed.
        report.expect(cache.get("apply_immediately") is True, cache, "changes wait for the maintenance window")
        name = cache.get("replication_group_id")
        report.expect(
            isinstance(name, str) and name.endswith(f"-{cache.plan.region}"), cache, "id does not end with the region"
        )
        groups = cache.origins("user_group_ids") == {"aws_elasticache_user_group.main"}
        report.expect(groups and len(known_list(cache, "user_group_ids")) == 1, cache, "no access control")
    for user in every(plans, "aws_elasticache_user"):
        log_in = user.get("authentication_mode.0.type") == "iam"
        off = str(user.get("access_string", "")).startswith("off ")
        report.expect(log_in or off, user, "logs in without IAM")


@rule
def the_state_store_runs_in_cluster_mode(plans: Plans, report: Report) -> None:
    """Require a state store in each region that can get more shards and never evicts a key [REL-7, GAMEREL02]."""
    for plan in regional(plans):
        groups = plan.resources("aws_elasticache_replication_group")
        stores = [group for group in groups if group.get("cluster_mode") == "enabled"]
        report.expect(len(stores) == 1, plan, f"{len(stores)} replication groups in cluster mode")
        for store in stores:
            report.expect(at_least(store.get("num_node_groups"), 1), store, "no shard")
            parameters = [
                {parameter["name"]: parameter["value"] for parameter in group.blocks("parameter")}
                for group in plan.resources("aws_elasticache_parameter_group")
                if group.get("name") == store.get("parameter_group_name")
            ]
            wanted = {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"}
            report.expect(parameters == [wanted], store, "not in cluster mode, or evicts keys of matches")


@rule
def databases_fail_over_and_are_protected(plans: Plans, report: Report) -> None:
    """Require two zones, encryption, backups and deletion protection for databases [REL-9, REL-10, SEC-8.3]."""
    for plan in regional(plans):
        instances = plan.resources("aws_rds_cluster_instance")
        zones = {i.get("availability_zone") for i in instances}
        report.expect(
            len(zones) >= 2 and all(isinstance(z, str) for z in zones), plan, "instances in fewer than two zones"
        )
        for instance in instances:
            report.expect(instance.get("publicly_accessible") is False, instance, "public")
            report.expect(customer_key(instance, "performance_insights_kms_key_id"), instance, "not a customer key")
    for cluster in every(plans, "aws_rds_cluster"):
        report.expect(cluster.get("storage_encrypted"), cluster, "not encrypted")
        report.expect(customer_key(cluster, "kms_key_id"), cluster, "not a customer key of its region")
        report.expect(cluster.get("deletion_protection"), cluster, "no deletion protection")
        report.expect(at_least(cluster.get("backup_retention_period"), 7), cluster, "backups are kept for under 7 days")
        report.expect(cluster.get("skip_final_snapshot") is False, cluster, "no final snapshot")
        report.expect(isinstance(cluster.get("final_snapshot_identifier"), str), cluster, "final snapshot has no name")
        report.expect("postgresql" in known_list(cluster, "enabled_cloudwatch_logs_exports"), cluster, "no logs")
        report.expect(cluster.get("iam_database_authentication_enabled"), cluster, "no log-in by IAM")
    for group in every(plans, "aws_rds_cluster_parameter_group"):
        forced = [p["value"] for p in group.blocks("parameter") if p["name"] == "rds.force_ssl"]
        report.expect(forced == ["1"], group, "TLS is not forced")


@rule
def only_migrations_are_the_master_user(plans: Plans, report: Report) -> None:
    """Require functions that log in to the database by IAM as their own user, except `migrate` [SEC-2.2, SEC-3.2]."""
    for plan in regional(plans):
        logging_in = set()
        for policy in (p for p in plan.resources("aws_iam_policy") if p.module == ("functions",)):
            for statement in statements(policy) or []:
                if "rds-db:connect" in statement["actions"] and policy.key != "migrate":
                    logging_in.add(policy.key)
                    own = all(str(resource).endswith("_app") for resource in statement["resources"])
                    report.expect(own, policy, "allows log-ins as another user of the database")
                reads = any(action.startswith("secretsmanager:Get") for action in statement["actions"])
                other = all(
                    ":secret:" in str(name) and "-distribution-passes-" in str(name) for name in statement["resources"]
                )
                allowed = not reads or other or policy.key == "migrate"
                report.expect(allowed, policy, "may read the master user's password")
        report.expect(logging_in == {"api", "persistence"}, plan, "a function does not log in to the database by IAM")


@rule
def the_backup_task_only_reads(plans: Plans, report: Report) -> None:
    """Require a private backup task that changes scratch tables and its bucket only [SEC-3.2, SEC-5, REL-9]."""
    writes = re.compile(r"dynamodb:(?!Describe|List|Scan)")
    for plan in regional(plans):
        policies = plan.resources("aws_iam_policy")
        tasks = [policy for policy in policies if policy.module == ("backup_task",) and policy.name == "task"]
        report.expect(len(tasks) == 1, plan, "no role of a backup task")
        for policy in tasks:
            listed = statements(policy)
            report.expect(bool(listed), policy, "statements are not known at plan")
            for statement in listed or []:
                resources = [str(resource) for resource in statement["resources"]]
                if "rds-db:connect" in statement["actions"]:
                    own = all(resource.endswith("_backup") for resource in resources)
                    report.expect(own, policy, "allows log-ins as another user of the database")
                if any(writes.match(action) for action in statement["actions"]):
                    scratch = all("-scratch." in resource for resource in resources)
                    report.expect(scratch, policy, "may change tables of players")
                if any(action.startswith("s3:") for action in statement["actions"]):
                    own = all("-backups" in resource for resource in resources)
                    report.expect(own, policy, "may use another bucket than the bucket of backups")
        open_ports = [
            rule for rule in plan.resources("aws_vpc_security_group_ingress_rule") if rule.module == ("backup_task",)
        ]
        report.expect(not open_ports, plan, "the backup task accepts connections")
        settings = plan.resources("aws_s3_bucket_server_side_encryption_configuration")
        for setting in (setting for setting in settings if setting.module == ("backups",)):
            algorithm = setting.get("rule.0.apply_server_side_encryption_by_default.0.sse_algorithm")
            report.expect(algorithm == "aws:kms", setting, "portable backups are not encrypted with a customer key")


@rule
def the_global_database_has_two_regions(plans: Plans, report: Report) -> None:
    """Require an encrypted, protected global cluster with two regions [field practice]."""
    for cluster in every(plans, "aws_rds_global_cluster"):
        report.expect(cluster.get("storage_encrypted"), cluster, "not encrypted")
        report.expect(cluster.get("deletion_protection"), cluster, "no deletion protection")
    members = [c for c in every(plans, "aws_rds_cluster") if isinstance(c.get("global_cluster_identifier"), str)]
    report.expect(len({c.plan.region for c in members}) >= 2, plans[0], "the global cluster has fewer than two regions")


@rule
def backups_are_copied_and_locked(plans: Plans, report: Report) -> None:
    """Require backups with copies in another region, in locked vaults with customer keys [REL-9]."""
    for plan in regional(plans):
        vaults = plan.resources("aws_backup_vault")
        locked = {(lock.module, lock.name) for lock in plan.resources("aws_backup_vault_lock_configuration")}
        for vault in vaults:
            report.expect(customer_key(vault, "kms_key_arn"), vault, "not a customer key of its region")
            report.expect((vault.module, vault.name) in locked, vault, "not locked")
        plans_of_backup = plan.resources("aws_backup_plan")
        report.expect(len(plans_of_backup) >= 1, plan, "no backup plan")
        for backup in plans_of_backup:
            for index, part in enumerate(backup.blocks("rule")):
                targets = [
                    backup.get(f"rule.{index}.copy_action.{number}.destination_vault_arn")
                    for number in range(len(part.get("copy_action") or []))
                ]
                regions = {target.split(":")[3] for target in targets if isinstance(target, str)}
                report.expect(bool(regions - {plan.region}), backup, f"rule {index} copies to no other region")
        elsewhere = [vault for vault in vaults if plan.provider_region(vault) != plan.region]
        report.expect(len(elsewhere) >= 1, plan, "no vault for copies in another region")
