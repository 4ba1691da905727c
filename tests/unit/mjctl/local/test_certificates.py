"""Tests that OpenSSL, as a client, accepts or rejects a region's authority and certificate."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mjctl.local import certificates
from mjctl.local.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "local" / "us-east-1")
    certificates.issue(layout)
    return layout


def handshake(layout: Layout, name: str, authority: Path) -> str:
    """Return the TLS version on which a client that trusts `authority` and a server of the region agree."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(layout.tls_certificate, layout.tls_key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.create_default_context(cafile=authority)
    # Python sets VERIFY_X509_STRICT by default from 3.13 on.
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version() or ""
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_client_accepts_the_names_of_this_machine(layout: Layout, name: str) -> None:
    assert handshake(layout, name, layout.tls_authority) == "TLSv1.3"


@pytest.mark.parametrize("name", ["example.com", "127.0.0.2"])
def test_a_client_rejects_another_name(layout: Layout, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(layout, name, layout.tls_authority)


def test_a_client_that_trusts_another_regions_authority_rejects_the_certificate(layout: Layout, tmp_path: Path) -> None:
    other = Layout(tmp_path / "local" / "eu-west-1")
    certificates.issue(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(layout, "localhost", other.tls_authority)


def test_a_stolen_key_of_the_authority_cannot_certify_another_name(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = x509.SubjectAlternativeName
    monkeypatch.setattr(x509, "SubjectAlternativeName", lambda _: real([x509.DNSName("bank.example")]))
    layout.tls_certificate.unlink()
    certificates.issue(layout)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(layout, "bank.example", layout.tls_authority)


def test_every_file_is_private(layout: Layout) -> None:
    assert layout.tls.stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in layout.tls.iterdir()}
    assert files == {"authority.key": 0o600, "authority.pem": 0o600, "server.key": 0o600, "server.pem": 0o600}


def test_the_authority_can_sign_no_other_authority_and_keys_are_on_p256(layout: Layout) -> None:
    authority = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes())
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    for path in (layout.tls_authority, layout.tls_certificate):
        key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def test_a_second_issue_changes_nothing(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.tls.iterdir()}
    assert certificates.issue(layout).startswith("certificates: kept, valid until ")
    assert {path: path.read_bytes() for path in layout.tls.iterdir()} == before


def test_the_authority_renews_a_certificate_near_its_end(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, server = layout.tls_authority.read_bytes(), layout.tls_certificate.read_bytes()
    with monkeypatch.context() as later:
        later.setattr(certificates, "_RENEWAL_DAYS", 366)
        assert not certificates.is_current(layout)
        assert certificates.issue(layout).startswith("certificates: renewed")
    assert certificates.is_current(layout)
    assert layout.tls_certificate.read_bytes() != server
    assert layout.tls_authority.read_bytes() == authority


def test_an_authority_that_ends_before_its_certificates_is_replaced(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_AUTHORITY_DAYS", 100)
    layout.tls_authority.unlink()
    certificates.issue(layout)
    short = layout.tls_authority.read_bytes()
    monkeypatch.undo()
    assert certificates.issue(layout).startswith("certificates: created, with a new authority")
    assert layout.tls_authority.read_bytes() != short
    end = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes()).not_valid_after_utc
    assert end - datetime.now(UTC) > timedelta(days=3600)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"


@pytest.mark.parametrize("name", ["authority.key", "authority.pem", "server.key", "server.pem"])
@pytest.mark.parametrize("content", [None, "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_lost_or_damaged_file_is_replaced(layout: Layout, name: str, content: str | None) -> None:
    path = layout.tls / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert not certificates.is_current(layout) or name == "authority.key"
    certificates.issue(layout)
    assert certificates.is_current(layout)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"


def test_a_certificate_without_its_key_is_replaced(layout: Layout, tmp_path: Path) -> None:
    """Test the state after an interruption between writing the certificate and writing its key."""
    other = Layout(tmp_path / "local" / "other")
    certificates.issue(other)
    layout.tls_key.write_bytes(other.tls_key.read_bytes())
    assert not certificates.is_current(layout)
    certificates.issue(layout)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"
