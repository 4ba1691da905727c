"""The key and the certificate that a game server makes for itself at its start, and TLS contexts with them.

The key exists only in the memory of the process, and the certificate is used as long as the process runs. No authority
confirms the certificate. A server trusts the certificate of another server because the other server has published the
certificate in the directory of the region.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import secrets
import ssl
from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALIDITY: Final = datetime.timedelta(days=3650)
"""Validity of a certificate, which is longer than any task runs. A server that leaves the directory is no longer
trusted, so the certificate does not need an early end."""

_CLOCK_SKEW: Final = datetime.timedelta(days=1)


class OwnCertificate:
    """Holds the key and the certificate of this process.

    Attributes:
        der: the certificate in DER.
    """

    def __init__(self, valid_for: datetime.timedelta = _VALIDITY, valid_from: datetime.datetime | None = None) -> None:
        """Make a key and a certificate.

        Args:
            valid_for: length of the certificate's validity.
            valid_from: start of the certificate's validity; None for a day ago, because the clocks of two servers
                differ.
        """
        start = valid_from or datetime.datetime.now(datetime.UTC) - _CLOCK_SKEW
        # A load balancer accepts ECDSA keys but no Ed25519 keys. The curve P-256 costs the least CPU of the curves that
        # every load balancer knows.
        key = ec.generate_private_key(ec.SECP256R1())
        # The name is random, because OpenSSL looks a trusted certificate up by its name, and a server that restarts
        # under its old id has a new certificate.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, secrets.token_hex(16))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + valid_for)
            # A certificate that other servers trust must not sign further certificates.
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self._certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def published(self) -> str:
        """Return the certificate as the directory of the region contains it."""
        return base64.b64encode(self.der).decode("ascii")

    def for_load_balancer(self) -> ssl.SSLContext:
        """Return a context for listeners behind a load balancer, with TLS 1.2 or later.

        An Application Load Balancer has no certificate for connections to its targets, so the context asks for none:
        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def accepting(self) -> ssl.SSLContext:
        """Return a context for the listener of other servers, with TLS 1.3.

        The context refuses every client until `load_verify_locations` has added the client's certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        return self._link(context)

    def connecting(self, certificate: bytes) -> ssl.SSLContext:
        """Return a context for connections to the one server that has the key of `certificate`, with TLS 1.3.

        Args:
            certificate: the certificate of the other server in DER.

        Raises:
            ssl.SSLError: `certificate` is no certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The context trusts a single certificate, which the directory has assigned to the address of the server.
        context.check_hostname = False
        context.load_verify_locations(cadata=certificate)
        return self._link(context)

    def _link(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        # The module ssl reads certificates and keys only from files. A pipe keeps the key out of the file system. Each
        # container has /dev/fd: https://github.com/opencontainers/runtime-spec/blob/main/runtime-linux.md
        with _readable(self._certificate) as certificate, _readable(self._key) as key:
            context.load_cert_chain(certificate, key)


def decoded(published: str) -> bytes:
    """Return the certificate in DER from the text of `OwnCertificate.published`.

    Raises:
        ValueError: the text is not base64.
    """
    return base64.b64decode(published, validate=True)


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Yield the path of a pipe that contains `content`, which is shorter than a pipe's buffer."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as stream:
            stream.write(content)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
