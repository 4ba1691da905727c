"""Marks the accounts of probes and load tests as internal, so that statistics and leaderboards do not contain them."""

from __future__ import annotations

from gameserver.runtime.auth import INTERNAL_GROUP
from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError


async def mark_internal(contract: Contract, clients: RegionClients, player_id: str) -> None:
    """Add a player to the group of internal accounts, which takes effect at the player's next log-in.

    Only a caller with AWS credentials can mark an account as internal. The user pool's app client cannot change groups,
    and the game servers read the group from the access token that the pool has signed.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminAddUserToGroup.html

    Raises:
        NotFoundError: the pool has no group of internal accounts, because an older version of mjctl deployed the pool.
        PermissionDeniedError: there are no credentials, or AWS refuses the call.
        UnreachableError: AWS does not answer.
    """
    pool = contract.identity.user_pool_id
    # The id of a user pool begins with the region of the pool, e.g. `eu-west-1_AbCd`. All regions of an environment on
    # AWS share one user pool.
    home = pool.partition("_")[0]
    try:
        await clients.call_in(
            home,
            "cognito-idp",
            "admin_add_user_to_group",
            UserPoolId=pool,
            Username=player_id,
            GroupName=INTERNAL_GROUP,
        )
    except NotFoundError as error:
        raise NotFoundError(
            f"the user pool has no group `{INTERNAL_GROUP}` for probe and load-test accounts",
            where=pool,
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` creates the group",
        ) from error
