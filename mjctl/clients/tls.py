"""How the parts of a region are verified: by its own authority where it has one, else by what the system trusts."""

from __future__ import annotations

import ssl

from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError


def ssl_context(contract: Contract) -> ssl.SSLContext:
    """Verifies the chain and the host's name, for every client but boto3's, which are given the file.

    Raises:
        NotFoundError: the authority's certificate is gone.
    """
    try:
        return ssl.create_default_context(cafile=contract.ca_file)
    except OSError as error:
        raise NotFoundError(
            f"the certificate of the region's authority cannot be read: {error.strerror or error}",
            where=contract.ca_file,
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` makes it anew",
        ) from error


def private_context(contract: Contract) -> ssl.SSLContext | None:
    """`ssl_context` of a region with an authority of its own; None leaves it to a client's defaults, which verify too.

    Raises:
        NotFoundError: the authority's certificate is gone.
    """
    return ssl_context(contract) if contract.ca_file else None
