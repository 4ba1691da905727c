"""The private certificate authority of a stage, which issues the certificates of every name that the stage serves.

`Authority.variables` returns environment variables that name a bundle of certificates. Programs of the stage trust the
authorities in the bundle: the authority of the stage and the authorities of this machine. No program outside the stage
trusts the authority of a stage.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mjctl.files import read_json, write_private
from mjctl.sandbox.stage.layout import certificate_file

_LONGEST_COMMON_NAME = 64


class CertificateFiles(NamedTuple):
    """Names the files of a certificate and of its private key, in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates, and keeps them in private files.

    Attributes:
        certificate_file: The file with the authority's certificate, in PEM. The authority's certificate is no secret.
        bundle: The file with the authority's certificate and the certificates of this machine's authorities, in PEM.
    """

    def __init__(self, folder: Path) -> None:
        """Load the authority from `folder`, or create a new authority in `folder`."""
        from ministack.core.x509_utils import generate_ca

        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self.certificate_file, self.bundle = certificate_file(folder), folder / "bundle.pem"
        stored = read_json(folder / "authority.json")
        if "certificate" not in stored:
            certificate, key = generate_ca(org_name="mjctl", common_name="mjctl stage")
            stored = {"certificate": certificate, "key": key}
            write_private(folder / "authority.json", json.dumps(stored))
        self.pair: tuple[str, str] = (stored["certificate"], stored["key"])
        write_private(self.certificate_file, self.pair[0])
        paths = ssl.get_default_verify_paths()
        system = next((Path(p) for p in (paths.cafile, paths.openssl_cafile) if p and Path(p).exists()), None)
        write_private(self.bundle, f"{system.read_text() if system else ''}\n{self.pair[0]}")

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the environment variables that make Python programs and AWS SDKs trust the authority."""
        bundle = str(self.bundle)
        return {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "AWS_CA_BUNDLE": bundle}

    def issue(self, names: Sequence[str]) -> CertificateFiles:
        """Return a certificate for `names`. A later call with equal `names` returns the same certificate."""
        from ministack.core.x509_utils import sign_leaf_certificate

        # Calculate the digest of all names, because the certificates of two load balancers can have the same first
        # name.
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        folder = self._folder / "issued" / f"{names[0].replace('*', '_')}-{digest}"
        files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
        with self._lock:
            if read_json(folder / "names.json").get("names") != list(names):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                certificate, key, _ = sign_leaf_certificate(
                    *self.pair, common_name=names[0][:_LONGEST_COMMON_NAME], san_dns=list(names)
                )
                write_private(files.key, key)
                write_private(files.certificate, certificate)
                write_private(folder / "names.json", json.dumps({"names": list(names)}))
        return files
