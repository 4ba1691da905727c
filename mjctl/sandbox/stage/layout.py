"""Returns the paths of those files in a stage's folder that both the stage and mjctl's own clients use."""

from __future__ import annotations

from pathlib import Path


def hosts_file(folder: Path) -> Path:
    """Return the path of the file that replaces /etc/hosts in the stage's processes."""
    return folder / "hosts"


def names_file(folder: Path) -> Path:
    """Return the path of the JSON file with the IP address of each DNS name of the stage."""
    return folder / "names.json"


def authority_folder(folder: Path) -> Path:
    """Return the path of the folder of the stage's certificate authority."""
    return folder / "authority"


def certificate_file(authority: Path) -> Path:
    """Return the path of the PEM file with the certificate of the certificate authority in the folder `authority`."""
    return authority / "authority.pem"


def calls_file(folder: Path) -> Path:
    """Return the path of the file with IAM's decisions on the calls of roles (mjctl.sandbox.call_log)."""
    return folder / "calls.jsonl"


def mail_file(folder: Path) -> Path:
    """Return the path of the file with the mails and text messages that the stage has sent (mjctl.sandbox.outbox)."""
    return folder / "mail.jsonl"
