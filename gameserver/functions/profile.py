"""Reads and changes a player's own profile. A read of the profile uses the cache.

DynamoDB has the name and the contact fields, and PostgreSQL has the statistics. The contact fields are encrypted in
DynamoDB and in the cache, and only the player to whom they belong receives them decrypted. The logs never contain
contact fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gameserver.functions.http import HttpError, Request, Response, clean_display_name, clean_email
from gameserver.functions.services import LEADERBOARD_KEY, LEADERBOARD_NAMESPACE, PROFILE_NAMESPACE, Services
from gameserver.persistence.tables import CONTACT_FIELDS
from gameserver.runtime.auth import default_name
from gameserver.runtime.crypto import FieldContext, Sealed


class ChangeProfile(msgspec.Struct):
    """Describes the body of a change of the profile.

    A field that the body leaves out does not change, and null removes a contact field.

    Attributes:
        display_name: name that other players see.
        email: e-mail address, a contact field.
        device_id: id of a device, a contact field.
        address: postal address, a contact field.
    """

    display_name: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET
    email: Annotated[str, Meta(min_length=3, max_length=254)] | UnsetType | None = UNSET
    device_id: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType | None = UNSET
    address: Annotated[str, Meta(min_length=1, max_length=300)] | UnsetType | None = UNSET


async def get_profile(request: Request, services: Services) -> Response:
    """Answer `GET /v1/profile`: 200 {player_id, display_name, matches, wins, total_score, best_score, contact}.

    `contact` is {email, device_id, address}. Each field of `contact` is a string or null.
    """
    return Response(200, await _read(services, request.player_id))


async def put_profile(request: Request, services: Services) -> Response:
    """Answer `PUT /v1/profile` with a body `ChangeProfile`: 200 and the new profile, as `get_profile` returns it.

    Raises:
        HttpError: 400 if a field is not valid or the body changes no field.
    """
    change = request.json(ChangeProfile)
    name = None if change.display_name is UNSET else clean_display_name(change.display_name)
    contact = _contact(change)
    if name is None and not contact:
        raise HttpError(400, "invalid_request", "the body must name at least one field to change")
    sealed = {
        field: None if value is None else await services.sealer.seal(value, _place(request.player_id, field))
        for field, value in contact.items()
    }
    await services.tables.update_player(request.player_id, display_name=name, contact=sealed)
    stale = [(PROFILE_NAMESPACE, request.player_id)]
    if name is not None:
        stale.append((LEADERBOARD_NAMESPACE, LEADERBOARD_KEY))
    await services.cache.invalidate_many(stale)
    return Response(200, await _read(services, request.player_id))


def _contact(change: ChangeProfile) -> dict[str, str | None]:
    """Return the contact fields that change, normalised."""
    given = {field: getattr(change, field) for field in CONTACT_FIELDS if getattr(change, field) is not UNSET}
    for field, value in given.items():
        if value is None:
            continue
        given[field] = clean_email(value) if field == "email" else value.strip()
        if not given[field] or not given[field].isprintable():
            raise HttpError(400, "invalid_request", f"{field} must be one line of visible characters")
    return given


async def _read(services: Services, player_id: str) -> dict[str, Any]:
    async def load() -> dict[str, Any]:
        player, stats = await asyncio.gather(services.tables.player(player_id), services.results.stats(player_id))
        name = player.display_name or default_name(player_id)
        return {"player_id": player_id, "display_name": name, **asdict(stats), "contact": player.contact}

    profile: dict[str, Any] = await services.cache.get_or_load(PROFILE_NAMESPACE, player_id, load)
    # A cached profile has no field `contact` if an older version of the server stored the profile.
    return {**profile, "contact": await _opened(services, player_id, profile.get("contact", {}))}


async def _opened(services: Services, player_id: str, contact: Mapping[str, Sealed]) -> dict[str, str | None]:
    fields = [field for field in CONTACT_FIELDS if field in contact]
    values = await asyncio.gather(*(services.sealer.open(contact[field], _place(player_id, field)) for field in fields))
    return {**dict.fromkeys(CONTACT_FIELDS), **dict(zip(fields, values, strict=True))}


def _place(player_id: str, field: str) -> FieldContext:
    return FieldContext("players", player_id, field)
