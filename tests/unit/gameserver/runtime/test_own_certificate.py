"""Tests of the certificate that a game server makes for itself: its contents, and handshakes with it in memory."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gameserver.runtime.own_certificate import OwnCertificate, decoded


def shake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Complete a TLS handshake between two contexts, and return both ends.

    Raises:
        ssl.SSLError: one of the ends refuses the handshake.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [near, far]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return near, far


def load_balancer() -> ssl.SSLContext:
    """Return a context that, like a load balancer of AWS, verifies no certificate and has nowner."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_the_certificate_is_for_clients_and_servers_but_not_for_signing() -> None:
    certificate = x509.load_der_x509_certificate(OwnCertificate().der)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.not_valid_before_utc < now - datetime.timedelta(hours=23)
    assert certificate.not_valid_after_utc > now + datetime.timedelta(days=365)


def test_two_certificates_have_different_names_and_keys() -> None:
    owner, front = (x509.load_der_x509_certificate(OwnCertificate().der) for _ in range(2))
    assert owner.subject != front.subject
    assert owner.public_key() != front.public_key()


def test_the_published_text_is_short_and_leads_back_to_the_certificate() -> None:
    own = OwnCertificate()
    assert decoded(own.published) == own.der
    assert len(own.published) < 600
    with pytest.raises(ValueError, match="base64"):
        decoded("no base64!")


def test_no_key_is_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the key from a pipe: the argument of `load_cert_chain` is never a regular file."""
    kinds = []
    real = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, certfile: str, keyfile: str) -> None:
        kinds.extend(stat.S_ISFIFO(Path(name).stat().st_mode) for name in (certfile, keyfile))
        real(context, certfile, keyfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    OwnCertificate().for_load_balancer()
    assert kinds == [True, True]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_load_balancer_connects_by_either_version(version: ssl.TLSVersion) -> None:
    client = load_balancer()
    client.maximum_version = version
    near, far = shake(client, OwnCertificate().for_load_balancer())
    assert near.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert far.getpeercert(True) is None


def test_two_servers_authenticate_each_other_by_tls_1_3() -> None:
    owner, front = OwnCertificate(), OwnCertificate()
    accepting = owner.accepting()
    accepting.load_verify_locations(cadata=front.der)
    near, far = shake(front.connecting(owner.der), accepting)
    assert (near.version(), far.getpeercert(True), near.getpeercert(True)) == ("TLSv1.3", front.der, owner.der)


def test_a_listener_for_servers_refuses_clients_that_it_does_not_know() -> None:
    owner = OwnCertificate()
    accepting = owner.accepting()
    accepting.load_verify_locations(cadata=OwnCertificate().der)
    with pytest.raises(ssl.SSLError, match=r"self.signed"):
        shake(OwnCertificate().connecting(owner.der), accepting)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(load_balancer(), accepting)


def test_a_connection_to_another_server_than_the_meant_one_fails() -> None:
    owner, front = OwnCertificate(), OwnCertificate()
    accepting = owner.accepting()
    accepting.load_verify_locations(cadata=front.der)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(front.connecting(OwnCertificate().der), accepting)


def test_a_trusted_server_cannot_sign_certificates_of_others() -> None:
    owner, signer = OwnCertificate(), OwnCertificate()
    accepting = owner.accepting()
    accepting.load_verify_locations(cadata=signer.der)
    key = ec.generate_private_key(ec.SECP256R1())
    parent = x509.load_der_x509_certificate(signer.der)
    signing = serialization.load_pem_private_key(signer._key, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    child = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "child")]))
        .issuer_name(parent.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(parent.not_valid_before_utc)
        .not_valid_after(parent.not_valid_after_utc)
        .sign(signing, hashes.SHA256())
    )
    forged = OwnCertificate()
    pem = serialization.Encoding.PEM
    forged._certificate = child.public_bytes(pem) + parent.public_bytes(pem)
    forged._key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(forged.connecting(owner.der), accepting)
