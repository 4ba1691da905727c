"""A region's authority and certificate, judged by OpenSSL as a client would."""

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
    made = Layout(tmp_path / "local" / "us-east-1")
    certificates.issue(made)
    return made


def handshake(layout: Layout, name: str, authority: Path) -> str:
    """The version agreed between a client that trusts `authority` and a server with the layout's certificate."""
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
    # Python 3.13 and later do so by themselves.
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version() or ""
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_its_names_are_verified(layout: Layout, name: str) -> None:
    assert handshake(layout, name, layout.tls_authority) == "TLSv1.3"


@pytest.mark.parametrize("name", ["example.com", "127.0.0.2"])
def test_another_name_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(layout, name, layout.tls_authority)


def test_another_regions_authority_does_not_vouch_for_it(layout: Layout, tmp_path: Path) -> None:
    other = Layout(tmp_path / "local" / "eu-west-1")
    certificates.issue(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(layout, "localhost", other.tls_authority)


def test_a_thief_of_its_key_gains_no_other_name(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_it_can_sign_no_further_authority_and_keys_are_on_p256(layout: Layout) -> None:
    authority = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes())
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    for path in (layout.tls_authority, layout.tls_certificate):
        key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def test_a_second_time_changes_nothing(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.tls.iterdir()}
    assert certificates.issue(layout).startswith("certificates: kept, valid until ")
    assert {path: path.read_bytes() for path in layout.tls.iterdir()} == before


def test_near_its_end_the_certificate_is_renewed_by_the_same_authority(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, server = layout.tls_authority.read_bytes(), layout.tls_certificate.read_bytes()
    with monkeypatch.context() as later:
        later.setattr(certificates, "_RENEWAL_DAYS", 366)
        assert not certificates.is_current(layout)
        assert certificates.issue(layout).startswith("certificates: renewed")
    assert certificates.is_current(layout)
    assert layout.tls_certificate.read_bytes() != server
    assert layout.tls_authority.read_bytes() == authority


def test_an_authority_that_ends_before_its_certificates_would_is_made_anew(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_AUTHORITY_DAYS", 100)
    layout.tls_authority.unlink()
    certificates.issue(layout)
    short = layout.tls_authority.read_bytes()
    monkeypatch.undo()
    assert certificates.issue(layout).startswith("certificates: made")
    assert layout.tls_authority.read_bytes() != short
    end = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes()).not_valid_after_utc
    assert end - datetime.now(UTC) > timedelta(days=3600)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"


@pytest.mark.parametrize("name", ["authority.key", "authority.pem", "server.key", "server.pem"])
@pytest.mark.parametrize("content", [None, "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_is_lost_or_damaged_is_made_anew(layout: Layout, name: str, content: str | None) -> None:
    path = layout.tls / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert not certificates.is_current(layout) or name == "authority.key"
    certificates.issue(layout)
    assert certificates.is_current(layout)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"


def test_a_certificate_without_its_key_is_made_anew(layout: Layout, tmp_path: Path) -> None:
    """As an interruption between the two files leaves it."""
    other = Layout(tmp_path / "local" / "other")
    certificates.issue(other)
    layout.tls_key.write_bytes(other.tls_key.read_bytes())
    assert not certificates.is_current(layout)
    certificates.issue(layout)
    assert handshake(layout, "localhost", layout.tls_authority) == "TLSv1.3"
