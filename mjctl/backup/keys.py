"""Handles the keys of a backup: a root key that only KMS can decrypt, and keys derived from the root key."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mjctl.backup.catalog import encode_manifest
from mjctl.clients.backup_keys import DATA_KEY, same_key
from mjctl.clients.boto import RegionClients
from mjctl.models.backup import MANIFEST_NAME, Manifest, SignedManifest, WrappedKey
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, MjctlError, NotFoundError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@dataclass(frozen=True)
class Unlocker:
    """Names a region whose KMS key may decrypt a backup: the backup's region, or the region that is restored into.

    Attributes:
        contract: the region's contract, with the id of the KMS key.
        clients: the region's clients.
    """

    contract: Contract
    clients: RegionClients


class BackupKeys:
    """Holds the root key of a backup (32 bytes). Neither `repr` nor an error shows the root key.

    Attributes:
        wrapped: copies of the root key, each encrypted by the KMS key of a region that can decrypt the backup.
    """

    def __init__(self, root: bytes, wrapped: Sequence[WrappedKey]) -> None:
        self._root = root
        self.wrapped = tuple(wrapped)

    def cipher(self) -> AESGCM:
        """Return the AES-256-GCM cipher that encrypts and decrypts the backup's chunks."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derive(b"mjctl-backup/1 chunks"))

    def sign(self, manifest: Manifest) -> SignedManifest:
        """Return the manifest with the encrypted root keys and a signature (HMAC-SHA-256) over manifest and keys."""
        return SignedManifest(manifest, self.wrapped, self._mac(manifest, self.wrapped))

    def check(self, signed: SignedManifest) -> None:
        """Check that the manifest was signed with the root key.

        Raises:
            VerificationError: the manifest's signature is wrong.
        """
        if not hmac.compare_digest(signed.mac.encode(), self._mac(signed.manifest, signed.keys).encode()):
            raise _altered(signed, "its signature is wrong")

    async def wrap_for(self, unlocker: Unlocker, manifest: Manifest) -> BackupKeys:
        """Return the backup's keys with a further copy of the root key, encrypted for `unlocker`'s region.

        Raises:
            ConfigError: the contract of `unlocker`'s region names no KMS key for backups.
        """
        contract = unlocker.contract
        answer = await unlocker.clients.call(
            "kms",
            "encrypt",
            KeyId=_key_of(contract),
            Plaintext=self._root,
            EncryptionContext=_context(manifest.backup_id, manifest.project, manifest.environment),
        )
        return BackupKeys(self._root, (*self.wrapped, _wrapped(contract, answer["CiphertextBlob"])))

    def _mac(self, manifest: Manifest, keys: Sequence[WrappedKey]) -> str:
        message = encode_manifest({"manifest": manifest, "keys": keys})
        return hmac.digest(self._derive(b"mjctl-backup/1 manifest"), message, "sha256").hex()

    def _derive(self, purpose: bytes) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), 32, salt=None, info=purpose).derive(self._root)


async def new_keys(unlocker: Unlocker, backup_id: str) -> BackupKeys:
    """Create the root key of a new backup with KMS, and encrypt the root key with the region's KMS key `data`.

    Raises:
        ConfigError: the region's contract names no KMS key `data`.
    """
    contract = unlocker.contract
    answer = await unlocker.clients.call(
        "kms",
        "generate_data_key",
        KeyId=_key_of(contract),
        KeySpec="AES_256",
        EncryptionContext=_context(backup_id, contract.project, contract.environment),
    )
    return BackupKeys(answer["Plaintext"], (_wrapped(contract, answer["CiphertextBlob"]),))


async def unlock(signed: SignedManifest, unlockers: Sequence[Unlocker]) -> BackupKeys:
    """Decrypt a backup's root key with the KMS key of a region in `unlockers`, and check the manifest's signature.

    Raises:
        VerificationError: the manifest was altered.
        NotFoundError: no region in `unlockers` has a key that can decrypt the backup.
        PermissionDeniedError: KMS denied the decryption.
        UnreachableError: KMS did not answer.
    """
    manifest = signed.manifest
    context = _context(manifest.backup_id, manifest.project, manifest.environment)
    failure: MjctlError | None = None
    for unlocker in unlockers:
        key_id = _key_of(unlocker.contract)
        for wrapped in signed.keys:
            if not same_key(wrapped.key_id, key_id):
                continue
            try:
                answer = await unlocker.clients.call(
                    "kms",
                    "decrypt",
                    KeyId=key_id,
                    CiphertextBlob=base64.b64decode(wrapped.ciphertext, validate=True),
                    EncryptionContext=context,
                )
            except ValueError:
                failure = _altered(signed, "an encrypted root key is not base64")
                continue
            except MjctlError as error:
                invalid = "InvalidCiphertext" in error.what or "IncorrectKey" in error.what
                failure = _altered(signed, "KMS rejects its encrypted root key") if invalid else error
                continue
            keys = BackupKeys(answer["Plaintext"], signed.keys)
            keys.check(signed)
            return keys
    if failure is not None:
        raise failure
    made_for = ", ".join(f"{key.key_id} ({key.region})" for key in signed.keys)
    raise NotFoundError(
        "none of the given regions has a key that can decrypt this backup",
        where=f"{manifest.backup_id}: {made_for}",
        hint="name a region that has one of the backup's keys. For a restore into another region, make backups with "
        "`mjctl backup create --copy-to REGION`",
    )


def _key_of(contract: Contract) -> str:
    try:
        return contract.keys[DATA_KEY]
    except KeyError:
        raise ConfigError(
            f"the region's contract has no KMS key `{DATA_KEY}`, with which mjctl encrypts backups",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` creates the key",
        ) from None


def _wrapped(contract: Contract, ciphertext: bytes) -> WrappedKey:
    return WrappedKey(contract.region, _key_of(contract), base64.b64encode(ciphertext).decode())


def _context(backup_id: str, project: str, environment: str) -> dict[str, str]:
    """Return the encryption context of a backup's root key.

    KMS decrypts a root key only with the encryption context that encrypted it. CloudTrail logs the encryption context,
    so an auditor can see which role opened which backup.
    """
    return {"purpose": "backup", "backup": backup_id, "project": project, "environment": environment}


def _altered(signed: SignedManifest, what: str) -> VerificationError:
    return VerificationError(
        f"{MANIFEST_NAME} was altered: {what}",
        where=signed.manifest.backup_id,
        hint="do not restore this backup; use another backup, or a copy of this backup in another region",
    )
