"""TLS of the game's processes: one way to verify others, one way to be verified, made from `GAMESERVER_TLS_*`."""

from __future__ import annotations

import ssl
from importlib import resources

from gameserver.runtime.settings import Settings, SettingsError


def client_context(settings: Settings) -> ssl.SSLContext:
    """Verifies the chain and the host's name, against GAMESERVER_TLS_CA_FILE, else what the system trusts.

    Raises:
        SettingsError: the file cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=settings.tls_ca_file or None)
    except OSError as error:
        raise SettingsError(f"GAMESERVER_TLS_CA_FILE: {settings.tls_ca_file}: {error.strerror or error}") from error


def database_context(settings: Settings) -> ssl.SSLContext | None:
    """As `verifying_context`, for PostgreSQL: Aurora's certificates are signed by roots that no system trusts.

    Those of Amazon RDS count where GAMESERVER_TLS_CA_FILE names no others, and for the database alone.

    Raises:
        SettingsError: as `client_context`.
    """
    context = verifying_context(settings)
    if context is not None and not settings.tls_ca_file:
        context.load_verify_locations(cadata=_rds_roots())
    return context


def _rds_roots() -> str:
    return resources.files("gameserver").joinpath("certificates", "rds.pem").read_text(encoding="ascii")


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """For every listener of the process (TLS 1.2 or later); None when it is not to end TLS itself.

    Raises:
        SettingsError: certificate or key cannot be read, or they do not belong together.
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
    """`client_context` where TLS is required; None leaves it to the library, which verifies `https` and `wss` too.

    Raises:
        SettingsError: as `client_context`.
    """
    return client_context(settings) if settings.tls_required else None
