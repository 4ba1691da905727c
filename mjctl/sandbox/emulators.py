"""Starts and stops the two emulators as child processes, and decides which emulator answers for each AWS service."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mjctl.local import emulated
from mjctl.local.credentials import AwsKey, ensure_aws_key
from mjctl.models.errors import DependencyError, UnreachableError
from mjctl.sandbox.stage import leftovers

ACCOUNT_ID = "123456789012"
"""Default of the emulated AWS account."""

# The AWS services for which moto answers, because moto emulates them better. ministack answers for all other services.
# Each name of a service is the part <SERVICE> in an environment variable AWS_ENDPOINT_URL_<SERVICE> of the AWS SDKs.
MOTO_SERVICES = ("APPLICATION_AUTO_SCALING", "CLOUDWATCH", "ECR", "SHIELD", "WAFV2")

# Maps boto3's name of a service to the service's name in the variable AWS_ENDPOINT_URL_<SERVICE>, if the name in the
# variable is not boto3's name in upper case.
_ENDPOINT_NAMES = {"application-autoscaling": "APPLICATION_AUTO_SCALING"}

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


def endpoint_variables(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that tell an AWS SDK or the Terraform provider the addresses of the emulators.

    Args:
        urls: The address of each emulator, by the emulator's name. Without an address of moto, ministack answers for
            all services.
    """
    services = {f"AWS_ENDPOINT_URL_{service}": urls["moto"] for service in MOTO_SERVICES if "moto" in urls}
    return {"AWS_ENDPOINT_URL": urls["ministack"], **services}


class Emulators:
    """Runs the emulators as child processes on free ports of 127.0.0.1, during a `with` block.

    The emulators keep their states in memory only, so the states are lost at the end of the block. At the start of the
    block, `Emulators` raises DependencyError if an emulator is not installed. `Emulators` raises UnreachableError with
    the path of the log if an emulator does not answer in time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        names: Sequence[str] = ("ministack", "moto"),
        corrected: bool = True,
        stage: bool = False,
        wrapper: str = "",
    ) -> None:
        """Create the object without starting a process.

        Args:
            folder: The folder of the logs and of the access key.
            names: The emulators to start. Without `moto`, ministack answers for all services.
            corrected: True to apply mjctl's corrections to the emulators.
            stage: True to run real processes behind the resources of ministack. The files of the stage are in the
                folder `stage` below `folder`, and the game code of an image is `releases/game/<digest>` below `folder`.
            wrapper: The name of a module that wraps the emulators' applications, for tests. The module's functions
                `wrap_asgi` and `wrap_wsgi` get the application, the emulator's name and `folder`, and return an
                application.
        """
        self._folder = folder
        self._names = names
        self._corrected = corrected
        self._stage = stage
        self._wrapper = wrapper
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._session: Any = None

    def __enter__(self) -> Emulators:
        try:
            self._ports = {emulator: _free_port() for emulator in self._names}
            for emulator in self._names:
                self._start(emulator)
            for emulator in self._processes:
                self._wait_until_up(emulator)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def account_id(self) -> str:
        """Return the id of the emulated AWS account."""
        return ACCOUNT_ID

    def url(self, emulator: str) -> str:
        """Return the address of the emulator `ministack` or `moto`."""
        return f"http://127.0.0.1:{self._ports[emulator]}"

    def endpoints(self) -> Mapping[str, str]:
        """Return the emulators' addresses and access key as variables for an SDK or the Terraform provider."""
        return {**endpoint_variables({name: self.url(name) for name in self._ports}), **self.key.variables}

    @property
    def stage_folder(self) -> Path:
        """Return the folder of the stage's files."""
        return self._folder / "stage"

    @property
    def key_file(self) -> Path:
        """Return the file of the emulators' access key."""
        return self._folder / "key.json"

    @property
    def key(self) -> AwsKey:
        """Return the access key that callers of the emulators must use."""
        return ensure_aws_key(self.key_file)

    def client(self, service: str, region: str, **options: Any) -> Any:
        """Return a boto3 client of an AWS service. The client uses the emulator that answers for the service.

        Args:
            service: boto3's name of the service.
            region: The region.
            options: Options of botocore's configuration.
        """
        import boto3

        if self._session is None:
            self._session = boto3.Session(botocore_session=emulated.session(self.key))
        variable = f"AWS_ENDPOINT_URL_{_ENDPOINT_NAMES.get(service, service).upper().replace('-', '_')}"
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoints().get(variable, self.url("ministack")),
            config=emulated.client_config(**options),
        )
        return emulated.sign_everything(client)

    def stop(self) -> None:
        """Stop the emulators. A second call of `stop` does nothing."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        if self._stage:
            for leftover in leftovers.processes(self.stage_folder):
                leftover.kill()

    def _start(self, emulator: str) -> None:
        port = self._ports[emulator]
        ensure_aws_key(self.key_file)
        command = [sys.executable, "-m", "mjctl.sandbox.serve", emulator, str(port), "--key", str(self.key_file)]
        if self._stage and emulator == "ministack":
            command += ["--stage", str(self.stage_folder), "--releases", str(self._folder / "releases")]
            command += ["--moto", self.url("moto")] if "moto" in self._names else []
        command += ["--wrapper", self._wrapper] if self._wrapper else []
        with self._log(emulator).open("wb") as log:
            self._processes[emulator] = subprocess.Popen(
                command if self._corrected else [*command, "--uncorrected"],
                env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_up(self, emulator: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._processes[emulator].poll() is not None:
                log = self._log(emulator).read_text(encoding="utf-8", errors="replace")
                if "ModuleNotFoundError" in log:
                    raise DependencyError(
                        f"{emulator} is not installed",
                        hint="run in the checkout: pip install --editable '.[local,sandbox]'",
                    )
                raise UnreachableError(f"{emulator} ended while it started", where=str(self._log(emulator)))
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self._ports[emulator])) == 0:
                    return
            time.sleep(0.1)
        raise UnreachableError(
            f"{emulator} did not answer within {_START_SECONDS:.0f} s", where=str(self._log(emulator))
        )

    def _log(self, emulator: str) -> Path:
        return self._folder / f"{emulator}.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
