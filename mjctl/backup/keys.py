"""The keys of one backup: a root key that only KMS can unwrap, and what is derived from it."""

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
    """A region whose KMS may hold a key that unwraps: the backup's own region, or the one that is restored into."""

    contract: Contract
    clients: RegionClients


class BackupKeys:
    """Holds the root key of 32 bytes; its repr and errors never show it."""

    def __init__(self, root: bytes, wrapped: Sequence[WrappedKey]) -> None:
        self._root = root
        self.wrapped = tuple(wrapped)

    def cipher(self) -> AESGCM:
        """AES-256-GCM for the chunks."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derive(b"mjctl-backup/1 chunks"))

    def sign(self, manifest: Manifest) -> SignedManifest:
        return SignedManifest(manifest, self.wrapped, self._mac(manifest, self.wrapped))

    def check(self, signed: SignedManifest) -> None:
        """Raises VerificationError unless a holder of the root key signed this manifest."""
        if not hmac.compare_digest(signed.mac.encode(), self._mac(signed.manifest, signed.keys).encode()):
            raise _altered(signed, "its signature does not fit")

    async def wrap_for(self, unlocker: Unlocker, manifest: Manifest) -> BackupKeys:
        """The same keys, which the KMS of one more region can unwrap."""
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
    """Have KMS make a root key under the region's data key.

    Raises:
        ConfigError: the region publishes no such key.
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
    """Unwrap the root key in one of these regions and check the manifest's signature.

    Raises:
        VerificationError: the manifest was altered.
        NotFoundError: none of the regions has a key that this backup was made for.
        PermissionDeniedError, UnreachableError: KMS refused or did not answer.
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
                failure = _altered(signed, "a wrapped key is not base64")
                continue
            except MjctlError as error:
                invalid = "InvalidCiphertext" in error.what or "IncorrectKey" in error.what
                failure = _altered(signed, "KMS does not take its wrapped key") if invalid else error
                continue
            keys = BackupKeys(answer["Plaintext"], signed.keys)
            keys.check(signed)
            return keys
    if failure is not None:
        raise failure
    made_for = ", ".join(f"{key.key_id} ({key.region})" for key in signed.keys)
    raise NotFoundError(
        "no region at hand has the key of this backup",
        where=f"{manifest.backup_id}: {made_for}",
        hint="a backup opens where its key is: name that region, or make backups with --copy-to for the other one",
    )


def _key_of(contract: Contract) -> str:
    try:
        return contract.keys[DATA_KEY]
    except KeyError:
        raise ConfigError(
            f"the region publishes no key `{DATA_KEY}`: backups are always encrypted",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` with this version makes it",
        ) from None


def _wrapped(contract: Contract, ciphertext: bytes) -> WrappedKey:
    return WrappedKey(contract.region, _key_of(contract), base64.b64encode(ciphertext).decode())


def _context(backup_id: str, project: str, environment: str) -> dict[str, str]:
    """KMS authenticates it, and CloudTrail shows it: which backup was opened, and by whom."""
    return {"purpose": "backup", "backup": backup_id, "project": project, "environment": environment}


def _altered(signed: SignedManifest, what: str) -> VerificationError:
    return VerificationError(
        f"{MANIFEST_NAME} was altered: {what}",
        where=signed.manifest.backup_id,
        hint="do not restore it; take another backup or copy",
    )
