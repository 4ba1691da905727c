"""Defines the rules of production about keys, roles, and the encryption of what is kept."""

from __future__ import annotations

import json

from tools.plan_model import Resource
from tools.well_architected.rules import Plans, Report, at_least, customer_key, every, regional, rule, statements


@rule
def messages_logs_and_objects_are_encrypted(plans: Plans, report: Report) -> None:
    """Require customer keys for topics, queues, logs, secrets and functions, and encrypted buckets [SEC-8.3]."""
    for kind, attribute in (
        ("aws_sns_topic", "kms_master_key_id"),
        ("aws_sqs_queue", "kms_master_key_id"),
        ("aws_cloudwatch_log_group", "kms_key_id"),
        ("aws_secretsmanager_secret", "kms_key_id"),
        ("aws_lambda_function", "kms_key_arn"),
    ):
        for resource in every(plans, kind):
            report.expect(
                customer_key(resource, attribute), resource, "not encrypted with a customer key of its region"
            )
    for plan in plans:
        encrypted = {}
        for setting in plan.resources("aws_s3_bucket_server_side_encryption_configuration"):
            encrypted[setting.module] = setting.get("rule.0.apply_server_side_encryption_by_default.0.sse_algorithm")
        for bucket in plan.resources("aws_s3_bucket"):
            report.expect(encrypted.get(bucket.module) in ("AES256", "aws:kms"), bucket, "not encrypted")


@rule
def buckets_are_private_versioned_and_tls_only(plans: Plans, report: Report) -> None:
    """Require buckets without public access, with versions, and for TLS only [SEC-3.7, SEC-8.4, SEC-9.3]."""
    for plan in plans:
        parts = {
            kind: {r.module: r for r in plan.resources(f"aws_s3_bucket_{kind}")}
            for kind in ("public_access_block", "versioning", "policy")
        }
        for bucket in plan.resources("aws_s3_bucket"):
            block, versions, policy = (parts[kind].get(bucket.module) for kind in parts)
            for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
                report.expect(block is not None and block.get(name), bucket, f"{name} is off")
            enabled = versions is not None and versions.get("versioning_configuration.0.status") == "Enabled"
            report.expect(enabled, bucket, "not versioned")
            report.expect(policy is not None and _denies_plain_http(policy), bucket, "allows requests without TLS")


def _denies_plain_http(policy: Resource) -> bool:
    return any(
        s["effect"] == "Deny" and s["actions"] == ["s3:*"] and "aws:SecureTransport" in json.dumps(s["conditions"])
        for s in statements(policy) or []
    )


@rule
def keys_rotate_and_are_replicated(plans: Plans, report: Report) -> None:
    """Require rotation, at least a week before deletion, and a replica of each key in each region [field practice]."""
    for key in every(plans, "aws_kms_key"):
        # KMS does not rotate HMAC keys: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
        rotates = key.get("key_usage") == "GENERATE_VERIFY_MAC" or key.get("enable_key_rotation")
        report.expect(rotates, key, "does not rotate")
    for key in every(plans, "aws_kms_key", "aws_kms_replica_key"):
        report.expect(at_least(key.get("deletion_window_in_days"), 7), key, "can be deleted within a week")
    primaries = {k.key for k in every(plans, "aws_kms_key") if k.get("multi_region") is True}
    home = next(every(plans, "aws_dynamodb_table")).plan.region
    for plan in regional(plans):
        if plan.region != home:
            replicas = {k.key for k in plan.resources("aws_kms_replica_key")}
            report.expect(replicas == primaries, plan, "a multi-region key has no replica in this region")


@rule
def roles_are_precise(plans: Plans, report: Report) -> None:
    """Require policies that do not allow every action, and roles that do not trust every principal [SEC-3.2].

    A statement on the resource `*` must have an id that begins with `Waived`, and a comment in the module that gives
    the reason of the waiver.
    """
    for forbidden in every(plans, "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_iam_user"):
        report.expect(False, forbidden, "inline policies and users are not used")
    for role in every(plans, "aws_iam_role"):
        inline = "inline_policy" in role.plan.expressions(role) or isinstance(role.get("inline_policy"), list)
        report.expect(not inline, role, "inline policy")
        trusted = statements(role, "assume_role_policy")
        open_to_all = trusted is None or any('"*"' in json.dumps(s.get("principals", {})) for s in trusted)
        report.expect(not open_to_all, role, "trust policy is not known, or allows every principal")
    for policy in every(plans, "aws_iam_policy"):
        listed = statements(policy)
        report.expect(listed is not None and len(listed) > 0, policy, "statements are not known at plan")
        for statement in listed or []:
            actions, resources, sid = statement["actions"], statement["resources"], statement["sid"] or ""
            report.expect("*" not in actions and "*:*" not in actions, policy, f"{sid}: every action")
            everywhere = "*" in resources and statement["effect"] == "Allow"
            report.expect(
                not everywhere or sid.startswith("Waived"), policy, f"{sid}: every resource, without a waiver"
            )
