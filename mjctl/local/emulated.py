"""AWS sessions towards an emulated AWS: with its key, and with nothing of the shell's own AWS settings or proxies."""

from __future__ import annotations

from typing import Any

from mjctl.local.credentials import AwsKey

# botocore's name of each setting that a shell can change by a variable, with the value that holds here:
# https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html
_SETTINGS: dict[str, Any] = {
    "profile": None,
    "region": None,
    "config_file": "/dev/null",
    "credentials_file": "/dev/null",
    "ca_bundle": None,
}


def session(key: AwsKey) -> Any:
    """Return a botocore session that uses `key` and ignores profiles and files. It is not safe for threads."""
    import botocore.session

    variables = {name: (None, None, value, None) for name, value in _SETTINGS.items()}
    made = botocore.session.Session(session_vars=variables)
    made.set_credentials(key.access_key_id, key.secret_access_key)
    return made


def client_config(**options: Any) -> Any:
    """Return a botocore configuration that asks through no proxy: an emulator is on this machine."""
    from botocore.config import Config

    return Config(proxies={}, **options)


def sign_everything(client: Any) -> Any:
    """Make `client` sign the operations too that AWS takes unsigned, such as Cognito's sign-up. Returns the client.

    The emulator's guard recognises a caller by the signature's access key.
    """
    client.meta.events.register_first("choose-signer", _sign)
    return client


def _sign(context: dict[str, Any] | None = None, **_: Any) -> str | None:
    return "v4" if context and context.get("auth_type") == "none" else None
