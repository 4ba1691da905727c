"""Gives the stage's CloudFront an address from which it calls origins.

On AWS, the managed prefix list `com.amazonaws.global.cloudfront.origin-facing` has the networks from which CloudFront
calls origins: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/LocationsOfEdgeServers.html
"""

from __future__ import annotations

import functools
import http.client
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage.context import StageContext

_PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"
Handler = Callable[..., Any]


class EdgeAddresses:
    """Lets ministack's CloudFront call origins from the address in the managed prefix list, as a part of the stage."""

    def __init__(self, context: StageContext) -> None:
        self._address = context.addresses.of("cloudfront")

    def install(self) -> None:
        """Replace the client by which ministack's CloudFront calls origins, and the entries of the prefix list."""
        from ministack.services import cloudfront, ec2

        make = functools.partial
        cloudfront.http = SimpleNamespace(
            client=SimpleNamespace(
                HTTPConnection=make(http.client.HTTPConnection, source_address=(self._address, 0)),
                HTTPSConnection=make(http.client.HTTPSConnection, source_address=(self._address, 0)),
                responses=http.client.responses,
            )
        )
        wrap(ec2, "_get_managed_prefix_list_entries", self._with_own_address)

    def look(self) -> None:
        """Do nothing, because CloudFront has no processes."""

    def close(self) -> None:
        """Do nothing, because CloudFront has no processes."""

    def _with_own_address(self, original: Handler) -> Handler:
        from ministack.services import ec2

        def entries(parameters: Any) -> Any:
            if ec2._p(parameters, "PrefixListId") != ec2._aws_pl_id_from_name(_PREFIX_LIST):
                return original(parameters)
            entry = f"<item><cidr>{self._address}/32</cidr><description>{_PREFIX_LIST}</description></item>"
            return ec2._xml(200, "GetManagedPrefixListEntriesResponse", f"<entrySet>{entry}</entrySet>")

        return entries
