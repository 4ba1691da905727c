"""Names the files of a stage that both the stage and mjctl's own clients use, below the stage's folder."""

from __future__ import annotations

from pathlib import Path


def hosts_file(folder: Path) -> Path:
    """Return the stage's own /etc/hosts."""
    return folder / "hosts"


def names_file(folder: Path) -> Path:
    """Return the JSON file with the address of each name of the stage."""
    return folder / "names.json"


def authority_folder(folder: Path) -> Path:
    """Return the folder of the stage's certificate authority."""
    return folder / "authority"


def certificate_file(authority: Path) -> Path:
    """Return the certificate of the authority in the folder `authority`, in PEM."""
    return authority / "authority.pem"


def calls_file(folder: Path) -> Path:
    """Return the file with the decisions of IAM on the calls of roles (mjctl.sandbox.call_log)."""
    return folder / "calls.jsonl"


def mail_file(folder: Path) -> Path:
    """Return the file with the mails and text messages that the stage has sent (mjctl.sandbox.outbox)."""
    return folder / "mail.jsonl"
