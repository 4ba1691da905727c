"""Tests of the decision which servers may open a link, with certificates from a directory that is partly damaged."""

from __future__ import annotations

import pytest

from gameserver.cluster.directory import ServerInfo
from gameserver.runtime.own_certificate import OwnCertificate
from gameserver.server.links import LinkRefused, Links


def server(certificate: str, private_url: str = "wss://10.0.0.1:8081/play") -> ServerInfo:
    return ServerInfo(
        "one", "z", "wss://play.test/", 0, 0, 1, draining=False, private_url=private_url, certificate=certificate
    )


def test_without_tls_every_link_is_allowed_and_no_certificate_is_published() -> None:
    links = Links()
    links.see([server("")])
    assert (links.context(server("", "ws://10.0.0.1:8080/play")), links.accepting, links.published) == (None, None, "")


def test_a_server_is_admitted_exactly_while_it_is_in_the_directory() -> None:
    links, other = Links(OwnCertificate()), OwnCertificate()
    assert not links.admits(other.der)
    links.see([server(other.published)])
    assert links.admits(other.der)
    kept = links.context(server(other.published))
    assert links.context(server(other.published)) is kept
    links.see([])
    assert not links.admits(other.der)
    assert links.context(server(other.published)) is not kept


def test_a_client_without_a_certificate_is_never_admitted() -> None:
    links = Links(OwnCertificate())
    links.see([server("")])
    assert not links.admits(None)
    assert not links.admits(b"")


@pytest.mark.parametrize("certificate", ["", "no base64!", "bm8gY2VydGlmaWNhdGU="])
def test_a_server_without_a_readable_certificate_gets_no_link_and_disturbs_no_other_server(certificate: str) -> None:
    links, other = Links(OwnCertificate()), OwnCertificate()
    links.see([server(certificate), server(other.published)])
    assert links.admits(other.der)
    with pytest.raises(LinkRefused, match="certificate of the match's owner"):
        links.context(server(certificate))


def test_a_link_without_tls_is_refused() -> None:
    links = Links(OwnCertificate())
    with pytest.raises(LinkRefused, match="without TLS"):
        links.context(server(OwnCertificate().published, "ws://10.0.0.1:8080/play"))
