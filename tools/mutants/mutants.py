"""Lists the mutants. A mutant breaks one line of the product, and names the tests of which at least one must then fail.

`make mutants` runs the mutants. `make mutants` ends with an error if the text `old` of a mutant no longer occurs in its
file. A developer who changes a line that a mutant replaces must change the mutant too.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIT = "tests/unit"
MJCTL = "tests/integration/mjctl"
GAME = "tests/integration/gameserver"


@dataclass(frozen=True)
class Mutant:
    """Describes one way to break the product.

    Attributes:
        name: Short name that `make mutants` prints.
        breaks: The wrong behavior of the broken product, as a verb phrase.
        file: Path of the file, relative to the repository.
        old: The text to replace, which must occur exactly once in the file.
        new: The text that replaces `old` and breaks the product.
        tests: Test files or ids of tests, of which at least one must fail with the mutant.
        equivalent: The reason why no test can detect the mutant, or "" if a test can detect the mutant. `make mutants`
            does not run a mutant that has a reason in `equivalent`.
    """

    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""


MUTANTS = (
    Mutant(
        "jwt-client_id",
        "accepts a token of another application",
        "gameserver/runtime/auth.py",
        'if claims.get("token_use") != "access" or claims.get("client_id") != self._client_id:',
        'if claims.get("token_use") != "access":',
        (f"{UNIT}/gameserver/runtime/test_auth.py",),
    ),
    Mutant(
        "jwt-token_use",
        "accepts an id token as an access token",
        "gameserver/runtime/auth.py",
        'if claims.get("token_use") != "access" or claims.get("client_id") != self._client_id:',
        'if claims.get("client_id") != self._client_id:',
        (f"{UNIT}/gameserver/runtime/test_auth.py",),
    ),
    Mutant(
        "jwt-issuer",
        "accepts a token of another user pool",
        "gameserver/runtime/auth.py",
        "                issuer=self._issuer,\n",
        "",
        (f"{UNIT}/gameserver/runtime/test_auth.py",),
    ),
    Mutant(
        "jwt-require-exp",
        "accepts a token that never expires",
        "gameserver/runtime/auth.py",
        '"require": ["exp", "iss", "sub"]',
        '"require": ["iss", "sub"]',
        (f"{UNIT}/gameserver/runtime/test_auth.py",),
    ),
    Mutant(
        "ratelimit-off",
        "never limits requests",
        "gameserver/functions/rate_limit.py",
        "allowed = tokens >= 1",
        "allowed = True",
        (f"{UNIT}/gameserver/functions/test_rate_limit.py",),
    ),
    Mutant(
        "exit-partial",
        "reports a partly failed run as wholly failed",
        "mjctl/models/deployment.py",
        "return ExitCode.PARTIAL",
        "return ExitCode.FAILED",
        (f"{UNIT}/mjctl/models/test_deployment.py",),
    ),
    Mutant(
        "exit-cause",
        "loses the exit code that all regions agree on",
        "mjctl/models/deployment.py",
        "return causes.pop() if len(causes) == 1 else ExitCode.FAILED",
        "return ExitCode.FAILED",
        (f"{UNIT}/mjctl/models/test_deployment.py",),
    ),
    Mutant(
        "policy-replace",
        "lets a plan replace a data store",
        "mjctl/deploy/planner/policy.py",
        'change.action in ("delete", "replace")',
        'change.action in ("delete",)',
        (f"{UNIT}/mjctl/deploy/planner/test_policy.py",),
    ),
    Mutant(
        "policy-drop-kms",
        "lets a plan delete an encryption key",
        "mjctl/deploy/planner/policy.py",
        '    "aws_kms_key": "all data that was encrypted with the key",\n',
        "",
        (f"{UNIT}/mjctl/deploy/planner/test_policy.py",),
    ),
    Mutant(
        "policy-drop-cognito",
        "lets a plan delete every player's account",
        "mjctl/deploy/planner/policy.py",
        '    "aws_cognito_user_pool": "every player\'s account",\n',
        "",
        (f"{UNIT}/mjctl/deploy/planner/test_policy.py",),
    ),
    Mutant(
        "gate-one-look",
        "rejects a region for one transient error",
        "mjctl/deploy/gate.py",
        "_BAD_IN_A_ROW = 2",
        "_BAD_IN_A_ROW = 1",
        (f"{UNIT}/mjctl/deploy/test_gate.py",),
    ),
    Mutant(
        "gate-no-reset",
        "adds up failed checks that are hours apart",
        "mjctl/deploy/gate.py",
        "                bad = unproven = 0\n",
        "                unproven = 0\n",
        (f"{UNIT}/mjctl/deploy/test_gate.py",),
    ),
    Mutant(
        "arch-sha",
        "does not compare the digest of a chunk",
        "mjctl/backup/archive.py",
        "if hashlib.sha256(data).hexdigest() != expected.sha256:",
        "if False:",
        (f"{UNIT}/mjctl/backup/test_archive.py",),
        equivalent="AES-GCM refuses the chunk by its own tag",
    ),
    Mutant(
        "arch-part-digest",
        "does not compare the digest of a part",
        "mjctl/backup/archive.py",
        "if (digest.records, digest.hexdigest()) != (part.records, part.digest):",
        "if False:",
        (f"{UNIT}/mjctl/backup/test_archive.py",),
    ),
    Mutant(
        "arch-place",
        "takes a chunk from another place of the archive",
        "mjctl/backup/archive.py",
        '    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)',
        '    return b""',
        (f"{UNIT}/mjctl/backup/test_archive.py",),
    ),
    Mutant(
        "near-lease-end",
        "serves a cached value after its lease",
        "gameserver/cache/near.py",
        "clock() >= min(ends_at, lease.ends_at)",
        "clock() >= ends_at",
        (f"{UNIT}/gameserver/cache/test_near.py",),
    ),
    Mutant(
        "retention-damaged",
        "removes a damaged backup that a person should look at",
        "mjctl/backup/retention.py",
        'PruneDecision(entry, True, ("damaged: `mjctl backup verify` shows the damage",))',
        'PruneDecision(entry, False, ("damaged: `mjctl backup verify` shows the damage",))',
        (f"{UNIT}/mjctl/backup/test_retention.py",),
    ),
    Mutant(
        "health-exc-pass",
        "counts a check that crashed as a warning",
        "mjctl/health/runner.py",
        '        finding = failed(\n            f"the check itself failed',
        '        finding = warned(\n            f"the check itself failed',
        (f"{UNIT}/mjctl/health/test_runner.py",),
    ),
    Mutant(
        "waves-canary",
        "deploys all regions with the canary",
        "mjctl/deploy/rollout.py",
        "return [[first], rest] if rest else [[first]]",
        "return [[first, *rest]]",
        (f"{UNIT}/mjctl/deploy/test_rollout_plan.py",),
    ),
    Mutant(
        "fence-commit",
        "lets an old owner write a match",
        "gameserver/cluster/store.py",
        "  elseif fence ~= token then outcome = 0\n",
        "",
        (
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_player_log.py",
        ),
    ),
    Mutant(
        "fence-advance",
        "lets an old owner advance a match",
        "gameserver/cluster/store.py",
        "  elseif fence ~= ARGV[at] then outcomes[match + 1] = 0\n",
        "",
        (
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_player_log.py",
        ),
    ),
    Mutant(
        "fence-finish",
        "lets an old owner finish a match",
        "gameserver/cluster/store.py",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n",
        "",
        (
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_player_log.py",
        ),
    ),
    Mutant(
        "lease-release",
        "releases the lease of another server",
        "gameserver/cluster/lease.py",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ':' .. ARGV[2] then return 0 end\n",
        "",
        (
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_failover.py",
        ),
    ),
    Mutant(
        "recreate-exists",
        "creates a match that exists",
        "gameserver/cluster/store.py",
        "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end\n",
        "",
        (
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_player_log.py",
        ),
    ),
    Mutant(
        "drain-handover",
        "does not hand matches over when an operator drains a server",
        "gameserver/server/heartbeat.py",
        "        if drain_asked and host.rooms:\n            await host.hand_over()\n",
        "",
        (
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_cluster.py",
            f"{GAME}/server/test_ecs.py",
            f"{GAME}/functions/test_operations.py",
        ),
    ),
    Mutant(
        "term-handover",
        "does not hand matches over on SIGTERM",
        "gameserver/server/process.py",
        "                await self.host.hand_over()\n",
        "                pass\n",
        (
            f"{GAME}/server/test_failover.py",
            f"{GAME}/server/test_cluster.py",
        ),
    ),
    Mutant(
        "ttl-jitter",
        "lets many keys expire at the same moment",
        "gameserver/cache/distributed.py",
        "seconds * (1 - self._jitter * random.random())",
        "seconds",
        (
            f"{GAME}/cache/test_distributed.py",
            f"{GAME}/cache/test_blocking.py",
        ),
    ),
    Mutant(
        "near-no-wait",
        "does not wait until other processes' leases have ended",
        "gameserver/cache/distributed.py",
        "    if wait:\n        await asyncio.sleep(OUTLIVE_SECONDS)",
        "    if False:\n        await asyncio.sleep(OUTLIVE_SECONDS)",
        (
            f"{GAME}/cache/test_near.py",
            f"{GAME}/cache/test_processes.py",
        ),
    ),
    Mutant(
        "cache-store-lease",
        "stores a value without its lease",
        "gameserver/cache/scripts.py",
        "if redis.call('GET', lease) ~= ARGV[4] then return 0 end\n",
        "",
        (f"{GAME}/cache/test_distributed.py",),
    ),
    Mutant(
        "batch-unfinished",
        "acknowledges a message whose event was not finished",
        "gameserver/functions/persistence.py",
        "                failed.setdefault(message_id, unfinished[event.event_id])\n",
        "                pass\n",
        (
            f"{GAME}/functions/test_persistence.py",
            f"{GAME}/test_worker.py",
            f"{GAME}/functions/test_lambda_handlers.py",
        ),
    ),
    Mutant(
        "batch-poison",
        "acknowledges a message that it could not read",
        "gameserver/functions/persistence.py",
        '            failed.setdefault(record["messageId"], f"an event is not valid: {error}")\n',
        "",
        (
            f"{GAME}/functions/test_persistence.py",
            f"{GAME}/test_worker.py",
            f"{GAME}/functions/test_lambda_handlers.py",
        ),
    ),
    Mutant(
        "lambda-client_id",
        "accepts a token of another application in Lambda",
        "gameserver/functions/lambda_handlers.py",
        'if claims.get("token_use") != "access" or claims.get("client_id") != settings.client_id:',
        'if claims.get("token_use") != "access":',
        (f"{GAME}/functions/test_lambda_handlers.py",),
    ),
    Mutant(
        "ratelimit-account",
        "does not limit log-ins per address and account",
        "gameserver/functions/sessions.py",
        "    await services.login_by_pair.take(request.network, email)\n",
        "",
        (
            f"{GAME}/test_api.py",
            f"{GAME}/functions/test_lambda_handlers.py",
        ),
    ),
    Mutant(
        "ratelimit-matches",
        "does not limit new matches per player",
        "gameserver/functions/matches.py",
        "    await services.matches_by_player.take(request.player_id)\n",
        "",
        (
            f"{GAME}/test_api.py",
            f"{GAME}/functions/test_lambda_handlers.py",
        ),
    ),
    Mutant(
        "seal-variables",
        "applies a plan made with other variables",
        "mjctl/terraform/plan_file.py",
        '    "variables": "the variables have changed since the plan",\n',
        "",
        (f"{UNIT}/mjctl/terraform/test_plan_file.py",),
    ),
    Mutant(
        "seal-account",
        "applies a plan in another account",
        "mjctl/terraform/plan_file.py",
        '    "account": "it was made for another account",\n',
        "",
        (
            f"{MJCTL}/terraform/test_operations.py",
            f"{MJCTL}/deploy/releases/test_saved_plans.py",
            f"{MJCTL}/terraform/test_shared.py",
        ),
    ),
    Mutant(
        "seal-lineage",
        "applies a plan to a state that was replaced",
        "mjctl/terraform/plan_file.py",
        '    "lineage": "another state has replaced the state since the plan",\n',
        "",
        (f"{UNIT}/mjctl/terraform/test_plan_file.py",),
    ),
    Mutant(
        "seal-revision",
        "applies a plan of other code",
        "mjctl/terraform/plan_file.py",
        '    "revision": "game code, Terraform code or the environment\'s file has changed since the plan",\n',
        "",
        (f"{UNIT}/mjctl/terraform/test_plan_file.py",),
    ),
    Mutant(
        "rlock-release",
        "removes the lock of another run",
        "mjctl/terraform/remote_lock.py",
        "if stored is not None and stored[0] == body:",
        "if stored is not None:",
        (f"{MJCTL}/terraform/test_shared.py",),
    ),
    Mutant(
        "rlock-steal",
        "takes the lock of a living run",
        "mjctl/terraform/remote_lock.py",
        "elif stored.age_seconds > DEAD_AFTER_SECONDS:",
        "elif True:",
        (f"{MJCTL}/terraform/test_shared.py",),
    ),
    Mutant(
        "rlock-norenew",
        "does not renew its lock",
        "mjctl/terraform/remote_lock.py",
        "self._etag = self._lock.renewed(self._body, self._etag)",
        "pass",
        (f"{MJCTL}/terraform/test_shared.py",),
    ),
    Mutant(
        "rlock-takeover-cond",
        "lets two runs take over the same dead lock",
        "mjctl/terraform/remote_lock.py",
        "etag = self.write(body, IfMatch=stored.etag)",
        "etag = self.write(body)",
        (f"{MJCTL}/terraform/test_shared.py",),
    ),
    Mutant(
        "exec-policy",
        "applies a plan that loses data",
        "mjctl/deploy/executor.py",
        "            if not self._allow_data_loss:\n                policy.require([planned.result])\n",
        "",
        (f"{MJCTL}/deploy/test_rollout.py::test_a_plan_that_loses_data_is_applied_only_with_allow_data_loss",),
    ),
    Mutant(
        "exec-confirm",
        "reports a rollout that ECS took back as applied",
        "mjctl/deploy/executor.py",
        "            await asyncio.to_thread(verify_ecs_rollout, stack)\n",
        "",
        (f"{MJCTL}/deploy/test_rollout.py::test_a_rollout_that_ecs_has_rolled_back_is_reported_as_failed",),
    ),
    Mutant(
        "rollback-unhealthy",
        "rolls back to a revision that the gate refused",
        "mjctl/deploy/releases/store.py",
        "if entry.revision != other_than and entry.verdict is not ReleaseVerdict.UNHEALTHY:",
        "if entry.revision != other_than:",
        (f"{MJCTL}/deploy/test_rollout.py::test_a_rollback_skips_a_revision_that_the_gate_found_unhealthy",),
    ),
    Mutant(
        "attempting",
        "forgets which revision an apply was cut short on",
        "mjctl/deploy/releases/store.py",
        'self._files.write(_ATTEMPT, json.dumps({"revision": release.revision}))',
        "pass",
        (f"{MJCTL}/deploy/test_rollout.py::test_a_failed_apply_stays_recorded_if_its_rollback_cannot_be_planned",),
    ),
    Mutant(
        "unlock-foreign",
        "removes the lock of another machine unasked",
        "mjctl/deploy/unlock.py",
        "if lock_id is None and holder != ",
        "if False and holder != ",
        (f"{MJCTL}/deploy/planner/test_production.py",),
    ),
    Mutant(
        "redrive-delete-all",
        "deletes dead-letter messages that the queue did not accept",
        "mjctl/queues/redrive.py",
        "        left = await self._delete(accepted)\n",
        "        left = await self._delete(batch)\n",
        (f"{MJCTL}/queues/test_redrive.py",),
    ),
    Mutant(
        "drain-alone",
        "drains the last server of a local region",
        "mjctl/fleet/control.py",
        '    if not any(row.state == "ready" for row in rows.values() if row.id != name):',
        "    if False:",
        (f"{MJCTL}/fleet",),
    ),
    Mutant(
        "ecs-drain-alone",
        "drains the last server of a region on AWS",
        "mjctl/fleet/ecs.py",
        "    if not any(other.ready for other in servers if other.id != name):",
        "    if False:",
        (f"{MJCTL}/fleet/test_ecs.py",),
    ),
    Mutant(
        "backup-sign",
        "accepts a backup whose signature is wrong",
        "mjctl/backup/keys.py",
        "            keys.check(signed)\n",
        "",
        (
            f"{MJCTL}/backup/test_proof.py",
            f"{MJCTL}/backup/test_portable.py",
        ),
    ),
    Mutant(
        "verify-extra",
        "does not see foreign objects in a backup",
        "mjctl/backup/verify.py",
        "for name in entry.objects if name not in known]",
        "for name in () if name not in known]",
        (
            f"{MJCTL}/backup/test_proof.py",
            f"{MJCTL}/backup/test_portable.py",
        ),
    ),
    Mutant(
        "seal-place",
        "opens a sealed field in another place",
        "gameserver/runtime/crypto.py",
        '        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)',
        '        return b""',
        (f"{GAME}/runtime/test_crypto.py",),
    ),
    Mutant(
        "seal-context",
        "opens a sealed field of another environment",
        "gameserver/runtime/crypto.py",
        '{"project": settings.project, "environment": settings.environment}',
        "{}",
        (f"{GAME}/runtime/test_crypto.py",),
    ),
    Mutant(
        "discard-plans",
        "leaves plans with secrets on disk",
        "mjctl/deploy/executor.py",
        "            item.plan.saved.remove()\n",
        "            pass\n",
        (f"{MJCTL}/deploy/test_rollout.py::test_an_unhealthy_canary_is_rolled_back_and_no_other_region_is_changed",),
    ),
    Mutant(
        "record-without-plan",
        "records a rollback whose plan failed as applied",
        "mjctl/deploy/executor.py",
        "if plan is None:\n",
        "if plan is None:\n            self._remember(desired)\n",
        (f"{MJCTL}/deploy/test_rollout.py::test_a_rollback_whose_plan_fails_is_not_recorded_as_applied",),
    ),
    Mutant(
        "gate-throttled",
        "counts throttled checks as evidence of health",
        "mjctl/deploy/gate.py",
        "    if throttled:\n",
        "    if False:\n",
        (f"{UNIT}/mjctl/deploy/test_gate.py",),
    ),
    Mutant(
        "gate-skipped",
        "passes a region of which every check was skipped",
        "mjctl/deploy/gate.py",
        "    if any(check.observed for check in critical):\n",
        "    if True:\n",
        (f"{UNIT}/mjctl/deploy/test_gate.py",),
    ),
    Mutant(
        "health-skipped",
        "reports a region that was not observed as healthy",
        "mjctl/health/model.py",
        "and not self.unobserved and",
        "and",
        (f"{UNIT}/mjctl/health/test_model.py",),
    ),
    Mutant(
        "policy-replica",
        "lets an update remove a table's replica",
        "mjctl/deploy/planner/policy.py",
        'change.resource_type == _REPLICATED and change.action == "update"',
        "False",
        (f"{UNIT}/mjctl/deploy/planner/test_policy.py",),
    ),
    Mutant(
        "mask-shape",
        "shows a secret in a plan",
        "mjctl/terraform/details.py",
        "    return _Secret(value)\n",
        "    return value\n",
        (f"{UNIT}/mjctl/terraform/test_details.py",),
    ),
    Mutant(
        "identity-kind",
        "reports missing credentials as a network that is down",
        "mjctl/clients/refusals.py",
        "    if advice is not None:\n        what =",
        "    if advice is None:\n        what =",
        (f"{UNIT}/mjctl/clients/test_refusals.py",),
    ),
    Mutant(
        "history-unfinished",
        "leaves the history of a run with a fault unfinished",
        "mjctl/deploy/operation.py",
        "        except BaseException as error:\n            with suppress(MjctlError):",
        "        except MjctlError as error:\n            with suppress(MjctlError):",
        (f"{MJCTL}/deploy/test_session.py::test_the_history_records_the_exit_code_of_every_run",),
    ),
)
