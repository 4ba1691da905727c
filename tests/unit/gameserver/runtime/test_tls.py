"""Tests of the TLS settings: the settings that are refused at the start, and the contexts of valid settings."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import client_context, database_context, server_context, verifying_context
from mjctl.local import certificates
from mjctl.local.layout import Layout
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace

BASICS = {"GAMESERVER_PROJECT": "p", "GAMESERVER_ENVIRONMENT": "e", "GAMESERVER_REGION": "us-east-1"}
REQUIRED = {**BASICS, "GAMESERVER_TLS_REQUIRED": "true"}
ADDRESSES = {
    "GAMESERVER_CACHE_URL": ("redis://user:hidden@cache.example.com:6379", "rediss"),
    "GAMESERVER_STATE_URL": ("redis://user:hidden@state.example.com:6379", "rediss"),
    "AWS_ENDPOINT_URL": ("http://127.0.0.1:4566", "https"),
    "GAMESERVER_PERSISTENCE_QUEUE_URL": ("http://127.0.0.1:4566/0/q", "https"),
    "GAMESERVER_JWKS_URL": ("http://127.0.0.1:4566/jwks.json", "https"),
    "GAMESERVER_PLAY_URL": ("ws://play.example.com", "wss"),
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    region_layout = Layout(tmp_path / "local" / "us-east-1")
    certificates.issue(region_layout)
    return region_layout


@pytest.mark.parametrize("variable", ADDRESSES)
def test_an_address_in_clear_is_refused_when_tls_is_required(variable: str) -> None:
    address, scheme = ADDRESSES[variable]
    with pytest.raises(
        SettingsError, match=f"{variable} begins with .*GAMESERVER_TLS_REQUIRED.*{scheme}://"
    ) as refused:
        Settings.from_env({**REQUIRED, variable: address})
    assert "hidden" not in str(refused.value)
    encrypted = f"{scheme}://{address.split('://')[1]}"
    assert Settings.from_env({**REQUIRED, variable: encrypted}).tls_required
    assert not Settings.from_env({**BASICS, variable: address}).tls_required


@pytest.mark.parametrize("variable", ["GAMESERVER_TLS_CERTIFICATE_FILE", "GAMESERVER_TLS_KEY_FILE"])
def test_a_certificate_and_its_key_come_together(variable: str) -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        Settings.from_env({**BASICS, variable: "/some/file.pem"})


def test_a_certificate_is_read_from_a_file_or_made_at_the_start() -> None:
    files = {"GAMESERVER_TLS_CERTIFICATE_FILE": "/a.pem", "GAMESERVER_TLS_KEY_FILE": "/a.key"}
    with pytest.raises(SettingsError, match=r"GAMESERVER_TLS_CERTIFICATE_FILE or GAMESERVER_TLS_OWN_CERTIFICATE"):
        Settings.from_env({**BASICS, **files, "GAMESERVER_TLS_OWN_CERTIFICATE": "true"})
    assert Settings.from_env({**BASICS, "GAMESERVER_TLS_OWN_CERTIFICATE": "true"}).tls_own_certificate


def test_without_tls_no_context_is_made() -> None:
    settings = Settings.from_env(BASICS)
    assert verifying_context(settings) is None
    assert server_context(settings) is None


def test_clients_verify_chain_and_name_against_the_regions_authority(layout: Layout) -> None:
    settings = Settings.from_env({**REQUIRED, "GAMESERVER_TLS_CA_FILE": str(layout.tls_authority)})
    context = verifying_context(settings)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1
    assert len(client_context(Settings.from_env(REQUIRED)).get_ca_certs()) != 1


def test_listeners_speak_tls_1_2_at_least(layout: Layout) -> None:
    files = {"tls_certificate_file": str(layout.tls_certificate), "tls_key_file": str(layout.tls_key)}
    context = server_context(Settings("p", "e", "us-east-1", **files))  # type: ignore[arg-type]
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_malformed_or_missing_files_are_settings_errors(layout: Layout, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"GAMESERVER_TLS_CA_FILE: .*file\.pem"):
        client_context(Settings("p", "e", "us-east-1", tls_ca_file=str(file)))
    key = str(layout.tls_key)
    with pytest.raises(SettingsError, match=r"GAMESERVER_TLS_CERTIFICATE_FILE, _KEY_FILE: .*file\.pem"):
        server_context(Settings("p", "e", "us-east-1", tls_certificate_file=str(file), tls_key_file=key))


def test_a_key_of_another_certificate_is_a_settings_error(layout: Layout) -> None:
    with pytest.raises(SettingsError, match="_KEY_FILE"):
        server_context(
            Settings(
                "p",
                "e",
                "us-east-1",
                tls_certificate_file=str(layout.tls_certificate),
                tls_key_file=str(layout.tls_authority_key),
            )
        )


class TestTheDatabaseOnAws:
    def test_the_roots_of_rds_are_trusted_for_the_database_only(self) -> None:
        settings = Settings.from_env(REQUIRED)
        context = database_context(settings)
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert "Amazon RDS eu-west-1 Root CA RSA2048 G1" in names(context)
        assert not [name for name in names(client_context(settings)) if "RDS" in name]

    def test_every_region_of_production_has_a_root_with_a_long_validity(self) -> None:
        context = database_context(Settings.from_env(REQUIRED))
        assert context is not None
        roots = {name: root for root in context.get_ca_certs() if "RDS" in (name := common_name(root))}
        production = load_environment(Workspace.discover(Path(__file__)), "prod")
        for region in production.regions:
            root = roots[f"Amazon RDS {region} Root CA RSA2048 G1"]
            assert ssl.cert_time_to_seconds(str(root["notAfter"])) > time.time() + 10 * 365 * 86_400

    def test_a_named_authority_replaces_the_roots_of_rds(self, layout: Layout) -> None:
        settings = Settings.from_env({**REQUIRED, "GAMESERVER_TLS_CA_FILE": str(layout.tls_authority)})
        context = database_context(settings)
        assert context is not None
        assert len(context.get_ca_certs()) == 1

    def test_no_context_is_made_where_tls_is_not_required(self) -> None:
        assert database_context(Settings.from_env(BASICS)) is None


def names(context: ssl.SSLContext) -> list[str]:
    return [common_name(certificate) for certificate in context.get_ca_certs()]


def common_name(certificate: Any) -> str:
    return next((value for part in certificate["subject"] for key, value in part if key == "commonName"), "")
