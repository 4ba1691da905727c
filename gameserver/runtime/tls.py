"""TLS contexts for the connections and the listeners of the game's processes, from the variables `GAMESERVER_TLS_*`."""

from __future__ import annotations

import ssl
from importlib import resources
from typing import Any, Final

from gameserver.runtime.settings import Settings, SettingsError

BUFFER_BYTES: Final[dict[str, Any]] = {"ssl_incoming_bio_size": 16 * 1024, "ssl_outgoing_bio_size": 16 * 1024 + 64}
"""Sizes of the two buffers of each connection with TLS, as arguments of `ws_create_server` and `ws_connect`. The sizes
are about the smallest that aiofastnet allows. The default of aiofastnet is 256 KiB for each buffer."""


def client_context(settings: Settings) -> ssl.SSLContext:
    """Return a context for connections that verifies the server's certificate chain and host name.

    The context trusts the certificates in GAMESERVER_TLS_CA_FILE, or without this variable the certificates that the
    system trusts.

    Raises:
        SettingsError: GAMESERVER_TLS_CA_FILE cannot be read or contains no certificate.
    """
    try:
        return ssl.create_default_context(cafile=settings.tls_ca_file or None)
    except OSError as error:
        raise SettingsError(f"GAMESERVER_TLS_CA_FILE: {settings.tls_ca_file}: {error.strerror or error}") from error


def database_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a context for connections to PostgreSQL; None where TLS is not required.

    Aurora's certificates are signed by root certificates of Amazon RDS that no system trusts. The context for
    PostgreSQL also trusts the root certificates of Amazon RDS, unless GAMESERVER_TLS_CA_FILE names other certificates.
    Contexts for other servers do not trust the root certificates of Amazon RDS.

    Raises:
        SettingsError: GAMESERVER_TLS_CA_FILE cannot be read or contains no certificate.
    """
    context = verifying_context(settings)
    if context is not None and not settings.tls_ca_file:
        context.load_verify_locations(cadata=_rds_roots())
    return context


def _rds_roots() -> str:
    return resources.files("gameserver").joinpath("certificates", "rds.pem").read_text(encoding="ascii")


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a context for the listeners of the process, with TLS 1.2 or later.

    Returns:
        None without GAMESERVER_TLS_CERTIFICATE_FILE: the process then accepts connections without TLS, for example
        because a load balancer in front of it ends TLS.

    Raises:
        SettingsError: certificate or key cannot be read, or the key does not belong to the certificate.
    """
    if not settings.tls_certificate_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
    except OSError as error:
        files = f"{settings.tls_certificate_file}, {settings.tls_key_file}"
        raise SettingsError(
            f"GAMESERVER_TLS_CERTIFICATE_FILE, _KEY_FILE: {files}: {error.strerror or error}"
        ) from error
    return context


def verifying_context(settings: Settings) -> ssl.SSLContext | None:
    """Return `client_context` where TLS is required, or else None.

    If `verifying_context` returns None, the caller's library uses its default context, which also verifies the
    certificates of `https` and `wss`.

    Raises:
        SettingsError: GAMESERVER_TLS_CA_FILE cannot be read or contains no certificate.
    """
    return client_context(settings) if settings.tls_required else None
