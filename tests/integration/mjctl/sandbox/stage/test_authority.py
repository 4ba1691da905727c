"""Tests that clients that trust a stage's authority accept a certificate only for the names in the certificate."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from mjctl.sandbox.stage.authority import Authority


def handshake(authority: Authority, names: Sequence[str], wanted: str, cafile: Path) -> None:
    """Connect to a server with a certificate for `names`, as a client that expects a certificate for `wanted`."""
    files = authority.issue(names)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(files.certificate, files.key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ssl.create_default_context(cafile=cafile).wrap_socket(ours, server_hostname=wanted).close()
    finally:
        ours.close()
        thread.join()


def test_a_certificate_is_valid_for_its_names_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    handshake(authority, ["*.us-east-1.amazonaws.com"], "sqs.us-east-1.amazonaws.com", authority.bundle)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, ["*.us-east-1.amazonaws.com"], "sqs.eu-west-1.amazonaws.com", authority.bundle)


def test_an_authority_is_kept_and_certificates_are_issued_again_for_other_names(tmp_path: Path) -> None:
    first = Authority(tmp_path)
    before = first.issue(["api.example.com"]).certificate.read_bytes()
    second = Authority(tmp_path)
    assert second.pair == first.pair
    assert second.issue(["api.example.com"]).certificate.read_bytes() == before
    assert second.issue(["api.example.com", "play.example.com"]).certificate.read_bytes() != before
    # The certificate for two names must not replace the certificate for the first name alone.
    assert second.issue(["api.example.com"]).certificate.read_bytes() == before


def test_no_other_user_can_read_a_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    key = authority.issue(["api.example.com"]).key
    for path in (key, tmp_path / "authority" / "authority.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
