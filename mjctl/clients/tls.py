"""TLS contexts that verify a region's servers by the region's private authority or by the system's authorities."""

from __future__ import annotations

import ssl
from importlib import resources

from mjctl.clients.stage_names import resolve_names_of
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError


def ssl_context(contract: Contract) -> ssl.SSLContext:
    """Return a context that verifies the certificate chain and the host name of a region's servers.

    All clients of mjctl use this context, except boto3's clients, which read the authority's file themselves. If the
    region runs on a stage, this process resolves the names of the stage from now on.

    Raises:
        NotFoundError: the file of the authority's certificate does not exist or cannot be read.
    """
    resolve_names_of(contract)
    try:
        return ssl.create_default_context(cafile=contract.ca_file)
    except OSError as error:
        raise NotFoundError(
            f"cannot read the certificate of the region's authority: {error.strerror or error}",
            where=contract.ca_file,
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` creates a new authority",
        ) from error


def database_context(contract: Contract) -> ssl.SSLContext:
    """Return the context of `ssl_context` for connections to PostgreSQL.

    Aurora's certificates are signed by root certificates of Amazon RDS that no system trusts. For a region without a
    private authority, the context also trusts the root certificates of Amazon RDS, which the game server's package
    contains: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.SSL.html

    Raises:
        NotFoundError: the file of the authority's certificate does not exist or cannot be read.
    """
    context = ssl_context(contract)
    if contract.ca_file is None and contract.target != "local":
        roots = resources.files("gameserver").joinpath("certificates", "rds.pem")
        context.load_verify_locations(cadata=roots.read_text(encoding="ascii"))
    return context


def private_context(contract: Contract) -> ssl.SSLContext | None:
    """Return the context of `ssl_context` for a region with a private authority, else None.

    If the result is None, a client uses its default context, which verifies by the system's authorities.

    Raises:
        NotFoundError: the file of the authority's certificate does not exist or cannot be read.
    """
    return ssl_context(contract) if contract.ca_file else None
