"""Creates, marks and removes internal accounts, which statistics and leaderboards do not contain.

A local region confirms every sign-up, so mjctl signs internal accounts up like players. On AWS, a sign-up needs a code
from a mail, so mjctl creates internal accounts in the user pool with the operator's AWS credentials.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from gameserver.runtime.auth import INTERNAL_GROUP
from mjctl.clients.boto import RegionClients, ThrottledError
from mjctl.clients.error_codes import error_code
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, UnreachableError

if TYPE_CHECKING:
    from gameserver.client import GameClient

# Cognito allows an AWS account 25 to 50 calls of these operations a second, for all players together.
# https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
_ATTEMPTS = 20
_PAUSE_SECONDS = 1.0


def new_password() -> str:
    """Return a random password with all kinds of characters that the policy of a user pool can require."""
    return f"{secrets.token_urlsafe(24)}aA1-"


def are_created_by_operator(contract: Contract) -> bool:
    """Return whether the operator creates internal accounts, because a sign-up needs a code from a mail."""
    return contract.target != "local"


async def create_account(contract: Contract, clients: RegionClients, email: str, password: str) -> str:
    """Create a confirmed internal account in the user pool, without a mail, and return its player id.

    The account has no display name until its player calls `GameClient.rename`.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminCreateUser.html

    Raises:
        NotFoundError: the pool has no group of internal accounts.
        PermissionDeniedError: there are no credentials, or AWS refuses a call.
        UnreachableError: AWS does not answer.
    """
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    answer = await _call(
        contract, clients, "admin_create_user", Username=email, UserAttributes=attributes, MessageAction="SUPPRESS"
    )
    player_id = next(str(part["Value"]) for part in answer["User"]["Attributes"] if part["Name"] == "sub")
    await _call(contract, clients, "admin_set_user_password", Username=player_id, Password=password, Permanent=True)
    await mark_internal(contract, clients, player_id)
    return player_id


async def remove_account(contract: Contract, clients: RegionClients, username: str) -> None:
    """Remove an internal account from the user pool. It is no error if the account does not exist.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region.
        username: The player id or the e-mail address of the account.

    Raises:
        PermissionDeniedError: there are no credentials, or AWS refuses the call.
        UnreachableError: AWS does not answer.
    """
    try:
        await _call(contract, clients, "admin_delete_user", Username=username)
    except UnreachableError as error:
        cause = error.__cause__
        if not isinstance(cause, Exception) or error_code(cause) != "UserNotFoundException":
            raise


async def mark_internal(contract: Contract, clients: RegionClients, player_id: str) -> None:
    """Add a player to the group of internal accounts. The change takes effect at the player's next log-in.

    Only a caller with AWS credentials can mark an account as internal. The user pool's app client cannot change groups,
    and the game servers read the group from the access token that the pool has signed.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminAddUserToGroup.html

    Raises:
        NotFoundError: the pool has no group of internal accounts, because an older version of mjctl deployed the pool.
        PermissionDeniedError: there are no credentials, or AWS refuses the call.
        UnreachableError: AWS does not answer.
    """
    try:
        await _call(contract, clients, "admin_add_user_to_group", Username=player_id, GroupName=INTERNAL_GROUP)
    except NotFoundError as error:
        raise NotFoundError(
            f"the user pool has no group `{INTERNAL_GROUP}` for probe and load-test accounts",
            where=contract.identity.user_pool_id,
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` creates the group",
        ) from error


async def sign_up(
    contract: Contract, clients: RegionClients, player: GameClient, email: str, password: str, display_name: str
) -> str:
    """Create an internal account for `player`, log in, and return the player id.

    Raises:
        ApiError: the API refuses a request or does not answer.
        NotFoundError: the pool has no group of internal accounts.
        PermissionDeniedError: there are no credentials, or AWS refuses a call.
        UnreachableError: AWS does not answer.
    """
    if are_created_by_operator(contract):
        player_id = await create_account(contract, clients, email, password)
        await player.log_in(email, password)
        await player.rename(display_name)
        return player_id
    player_id = await player.sign_up(email, password, display_name)
    # Mark the account before the log-in, because the token from the log-in contains the groups of the account.
    await mark_internal(contract, clients, player_id)
    await player.log_in(email, password)
    return player_id


async def _call(contract: Contract, clients: RegionClients, operation: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation of Cognito on the user pool, and repeat the call while Cognito throttles it."""
    pool = contract.identity.user_pool_id
    # The id of a user pool begins with the region of the pool, e.g. `eu-west-1_AbCd`. All regions of an environment on
    # AWS share one user pool.
    home = pool.partition("_")[0]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await clients.call_in(home, "cognito-idp", operation, UserPoolId=pool, **parameters)
        except ThrottledError:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last attempt of a call of Cognito neither returned nor raised")
