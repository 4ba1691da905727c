"""Replaces the pass by which the game's CloudFront distribution proves itself to the API.

The pass is in a key value store of CloudFront. A secret of Secrets Manager in each region has the digests of the
passes that the API accepts (docs/decisions/0021).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from gameserver.runtime import distribution_pass
from mjctl.clients.error_codes import error_code
from mjctl.models.environment import Environment
from mjctl.models.errors import UnreachableError
from mjctl.terraform.stack import Stack

# AWS names no bound. Its announcement says that a change reaches the edge locations within a few seconds:
# https://aws.amazon.com/blogs/aws/introducing-amazon-cloudfront-keyvaluestore-a-low-latency-datastore-for-cloudfront-functions/
_PROPAGATION_SECONDS = 30.0
# A process of the API reads the secret again at most this long after a request with a pass that it does not know. The
# same time again is for AWS, whose status of the replication may be old.
_ACCEPTANCE_SECONDS = 2 * distribution_pass.PAUSE_SECONDS
_REPLICATION_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


def replace_at(edge: Stack, environment: Environment) -> bool:
    """Replace the pass of the deployed stack `edge`.

    Returns:
        False if the stack has no key value store, because an older release deployed the stack.

    Raises:
        UnreachableError, PermissionDeniedError: AWS refuses a call or does not answer. The API still accepts the pass
            that CloudFront sends.
    """
    store = edge.outputs().get("contract", {}).get("pass_store_arn")
    if edge.account is None or store is None:
        return False
    try:
        DistributionPass(
            store,
            distribution_pass.secret_name(environment.project, environment.name),
            # The stores have one endpoint for all regions.
            edge.account.client("cloudfront-keyvaluestore", "us-east-1"),
            edge.account.client("secretsmanager"),
            propagation_seconds=0.0 if edge.account.emulated else _PROPAGATION_SECONDS,
        ).replace()
    except Exception as error:
        raise edge.account.explain(error, store) from error
    return True


class DistributionPass:
    """Replaces the pass of a distribution, so that the API accepts every pass that CloudFront sends at any time.

    An interrupted replacement has this property too, and `replace` may simply run again.
    """

    def __init__(
        self,
        store: str,
        secret: str,
        key_values: Any,
        secrets_manager: Any,
        *,
        propagation_seconds: float = _PROPAGATION_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the replacement.

        Args:
            store: The ARN of the key value store.
            secret: The name of the secret.
            key_values: A boto3 client of the key value stores of CloudFront.
            secrets_manager: A boto3 client of Secrets Manager in the primary region.
            propagation_seconds: The time after which every edge location sends a new pass.
            sleep: Waits for a number of seconds.
        """
        self._store = store
        self._secret = secret
        self._key_values = key_values
        self._secrets_manager = secrets_manager
        self._propagation_seconds = propagation_seconds
        self._sleep = sleep

    def replace(self) -> None:
        """Make a pass, and make CloudFront send the pass. The API accepts the previous pass until the next `replace`.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: AWS refuses a call or does not answer.
            UnreachableError: AWS has not copied the secret to all regions.
        """
        version = self._key_values.describe_key_value_store(KvsARN=self._store)["ETag"]
        old, new = self._sent(), secrets.token_urlsafe(32)
        accepted = distribution_pass.encode(distribution_pass.digest(value) for value in (old, new) if value)
        if self._requires_pass():
            self._accept(accepted)
            if old:
                self._sleep(_ACCEPTANCE_SECONDS)
            self._send(new, version)
        else:
            # The API must not require a pass before every edge location sends a pass.
            self._send(new, version)
            self._sleep(self._propagation_seconds)
            self._accept(accepted)

    def _sent(self) -> str:
        """Return the pass that CloudFront sends, or "" without a pass."""
        try:
            answer = self._key_values.get_key(KvsARN=self._store, Key=distribution_pass.STORE_KEY)
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return ""
            raise
        return str(answer["Value"])

    def _send(self, value: str, version: str) -> None:
        put = {"Key": distribution_pass.STORE_KEY, "Value": value}
        self._key_values.update_keys(KvsARN=self._store, IfMatch=version, Puts=[put])

    def _requires_pass(self) -> bool:
        """Return whether the API requires a pass. A secret that cannot be read counts as a requirement."""
        try:
            text = self._secrets_manager.get_secret_value(SecretId=self._secret)["SecretString"]
            return bool(distribution_pass.decode(text))
        except ValueError:
            return True
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return False
            raise

    def _accept(self, accepted: str) -> None:
        """Write the secret, and wait until each region has a copy."""
        self._secrets_manager.put_secret_value(SecretId=self._secret, SecretString=accepted)
        waited = 0.0
        while True:
            description = self._secrets_manager.describe_secret(SecretId=self._secret)
            late = [item for item in description.get("ReplicationStatus", ()) if item["Status"] != "InSync"]
            if not late:
                return
            if late[0]["Status"] == "Failed" or waited >= _REPLICATION_SECONDS:
                raise UnreachableError(
                    f"Secrets Manager has not copied the secret to {', '.join(item['Region'] for item in late)}: "
                    f"{late[0].get('StatusMessage') or late[0]['Status']}",
                    where=f"secret {self._secret}",
                    hint="remove the cause that AWS names, then deploy again",
                )
            self._sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS
