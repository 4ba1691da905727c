"""Marks probe and load-test accounts, so that they count in no statistics and appear on no leaderboard."""

from __future__ import annotations

from gameserver.runtime.auth import INTERNAL_GROUP
from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError


async def mark_internal(contract: Contract, clients: RegionClients, player_id: str) -> None:
    """Put a player into the group of internal accounts. It takes effect with the next log-in.

    Only this call, with AWS credentials, can do it: the user pool's app client cannot change groups, and the game's
    servers read the group from the token that the pool has signed.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminAddUserToGroup.html

    Raises:
        NotFoundError: the pool has no such group, because it was deployed by an older version.
        UnreachableError, CredentialsError: AWS does not answer, or refuses.
    """
    pool = contract.identity.user_pool_id
    # A pool lies in one region, which its id begins with, and serves all.
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
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` makes it",
        ) from error
