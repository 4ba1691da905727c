"""Shares the code of releases through the account's state bucket, so that every machine can roll a deploy back.

The object of a release in the state bucket is `<project>-<environment>/releases/<terraform digest>-<game
digest>.tar.gz`. The archive of a release contains `terraform/`, `gameserver/` and the packages with a studio's own
rules, as they were deployed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mjctl.clients.account import Account
from mjctl.clients.error_codes import error_code
from mjctl.deploy.releases import short_digests
from mjctl.models.errors import VerificationError
from mjctl.models.release import Release
from mjctl.models.release_files import GAME_PACKAGE, Files, digest_of, game_files, terraform_files

# Keep archives that are younger than a day, because `releases.json` lists a release only after its apply, and an apply
# may still run.
_PRUNED_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class SharedCode:
    """Reads and writes the archives of releases in the state bucket.

    Every method except `verify` raises UnreachableError or PermissionDeniedError if the state bucket does not answer or
    refuses a request.

    Attributes:
        account: The AWS account of the state bucket.
        prefix: The beginning of the names of all archives in the bucket.
    """

    account: Account
    prefix: str

    def put(self, name: str, files: Files) -> None:
        """Upload an archive of `files` with the name `name`, unless the bucket has the archive already.

        Args:
            name: The name of the archive, which contains the digests of the files.
            files: The paths of the files, by their names in the archive.
        """
        if self._exists(name):
            return
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
            for member, path in sorted(files.items()):
                body = path.read_bytes()
                # Put only the names and the contents of the files into the archive, without owners and times, and no
                # links.
                entry = tarfile.TarInfo(member)
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body))
        try:
            self.account.client("s3").put_object(
                Bucket=self.account.bucket, Key=self._key(name), Body=buffer.getvalue()
            )
        except Exception as error:
            raise self.account.explain(error, self._where(name)) from error

    def fetch(self, name: str, folder: Path) -> bool:
        """Unpack the archive `name` into `folder`.

        Returns:
            False if the state bucket has no archive `name`.

        Raises:
            VerificationError: The object is no archive, or the archive has paths outside of `folder`.
        """
        stored = self.account.read(self._key(name))
        if stored is None:
            return False
        try:
            with tarfile.open(fileobj=io.BytesIO(stored[0]), mode="r:gz") as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise VerificationError(
                f"the shared code of a release is damaged: {error}",
                where=self._where(name),
                hint="check out the code of the release with git and deploy it",
            ) from error
        return True

    def verify(self, release: Release, packages: Mapping[str, Path], terraform: Path) -> None:
        """Check that folders from an unpacked archive contain the code of `release`.

        Args:
            release: The release with its digests.
            packages: The folders of the Python packages, by the name of the package.
            terraform: The folder of the Terraform code.

        Raises:
            VerificationError: The digests of the folders differ from the digests of `release`.
        """
        unpacked = ("", "")
        if GAME_PACKAGE in packages and terraform.is_dir():
            if release.is_short:
                unpacked = (short_digests.of_game(packages[GAME_PACKAGE]), short_digests.of_terraform(terraform))
            else:
                unpacked = (digest_of(game_files(packages)), digest_of(terraform_files(terraform)))
        if unpacked != (release.game, release.terraform):
            raise VerificationError(
                f"the shared code of revision {release.revision} differs from the code that was deployed",
                where=self._where(f"{release.terraform}-{release.game}"),
                hint=f"check out the code of revision {release.revision} with git and deploy it",
            )

    def prune(self, wanted: Collection[str]) -> None:
        """Remove all archives from the state bucket that are older than a day and whose names are not in `wanted`."""
        s3 = self.account.client("s3")
        try:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.account.bucket, Prefix=self.prefix)
            kept = {self._key(name) for name in wanted}
            oldest = datetime.now(UTC) - _PRUNED_AFTER
            for item in [item for page in pages for item in page.get("Contents", ())]:
                if item["Key"] not in kept and item["LastModified"] < oldest:
                    s3.delete_object(Bucket=self.account.bucket, Key=item["Key"])
        except Exception as error:
            raise self.account.explain(error, f"s3://{self.account.bucket}/{self.prefix}") from error

    def _exists(self, name: str) -> bool:
        try:
            self.account.client("s3").head_object(Bucket=self.account.bucket, Key=self._key(name))
        except Exception as error:
            if error_code(error) in ("404", "NoSuchKey", "NotFound"):
                return False
            raise self.account.explain(error, self._where(name)) from error
        return True

    def _key(self, name: str) -> str:
        return f"{self.prefix}{name}.tar.gz"

    def _where(self, name: str) -> str:
        return f"s3://{self.account.bucket}/{self._key(name)}"
