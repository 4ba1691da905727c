"""The private certificate authority of a local region, and the certificate that all servers of the region present.

An authority is kept for nine of its ten years, so that a browser that trusts the authority also trusts a renewed
certificate. Name constraints (RFC 5280) limit the authority to this machine's loopback names, so that a person who
steals the authority's key cannot impersonate any other site.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mjctl.files import write_private
from mjctl.local.layout import Layout

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 365
# A deploy renews a server certificate that ends within 90 days. `mjctl health` warns of a certificate that ends within
# 30 days.
_RENEWAL_DAYS = 90
# A certificate is valid from an hour before its creation, because the clock of a virtual machine may be slow.
_BACKDATED = timedelta(hours=1)


def issue(layout: Layout) -> str:
    """Create the authority and the servers' certificate if they are missing, damaged or near the end of their validity.

    The keys of the authority and the certificate are on the curve P-256, unencrypted, in files of mode 0600.

    Returns:
        A line for people that says what was done, e.g. `certificates: kept, valid until 2027-01-31`.
    """
    layout.tls.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _load_authority(layout)
    kept = authority is not None
    key, certificate = authority or _make_authority(layout)
    if kept and is_current(layout):
        return f"certificates: kept, valid until {_end_of(layout.tls_certificate):%Y-%m-%d}"
    _make_server(layout, key, certificate)
    end = _end_of(layout.tls_certificate)
    return f"certificates: {'renewed' if kept else 'created, with a new authority'}, valid until {end:%Y-%m-%d}"


def is_current(layout: Layout) -> bool:
    """Return whether the servers' certificate exists, was issued by the region's authority, and needs no renewal."""
    try:
        authority = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes())
        server = x509.load_pem_x509_certificate(layout.tls_certificate.read_bytes())
        server.verify_directly_issued_by(authority)
        key = _load_key(layout.tls_key)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    last = min(server.not_valid_after_utc, authority.not_valid_after_utc)
    return key.public_key() == server.public_key() and last - datetime.now(UTC) > timedelta(days=_RENEWAL_DAYS)


def _load_authority(layout: Layout) -> tuple[EllipticCurvePrivateKey, x509.Certificate] | None:
    try:
        certificate = x509.load_pem_x509_certificate(layout.tls_authority.read_bytes())
        key = _load_key(layout.tls_authority_key)
    except (OSError, ValueError, TypeError):
        return None
    current = certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=_SERVER_DAYS)
    return (key, certificate) if current and key.public_key() == certificate.public_key() else None


def _make_authority(layout: Layout) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Browsers list authorities by name, so the name says which environment and region the authority belongs to.
    region, environment = layout.region_dir.name, layout.region_dir.parent.name
    name = _name(f"mjctl {environment} {region} {secrets.token_hex(4)}"[:60])
    constraints = x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            x509.IPAddress(ip_network("127.0.0.0/8")),
            x509.IPAddress(ip_network("::1/128")),
        ],
        excluded_subtrees=None,
    )
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key, timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(layout.tls_authority_key, _private_pem(key))
    write_private(layout.tls_authority, _public_pem(certificate))
    return key, certificate


def _make_server(layout: Layout, authority_key: EllipticCurvePrivateKey, authority: x509.Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
    ]
    issuer_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name("localhost"), authority.subject, key, timedelta(days=_SERVER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_private(layout.tls_key, _private_pem(key))
    write_private(layout.tls_certificate, _public_pem(certificate))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, validity: timedelta
) -> x509.CertificateBuilder:

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:

    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(path: Path) -> EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} contains no elliptic-curve key")
    return key


def _private_pem(key: EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _end_of(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
