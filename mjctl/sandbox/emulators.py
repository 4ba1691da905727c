"""Start and stop the two emulators, and say which AWS service is asked of which."""

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
from mjctl.sandbox.serve import ACCOUNT_ID

# What moto does better, by the service names of AWS_ENDPOINT_URL_<SERVICE>; all else is asked of ministack.
MOTO_SERVICES = ("APPLICATION_AUTO_SCALING", "CLOUDWATCH", "ECR", "SHIELD", "WAFV2")

# Where boto3's name of a service is not the one that stands in the variable.
_ENDPOINT_NAMES = {"application-autoscaling": "APPLICATION_AUTO_SCALING"}

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


def endpoint_variables(urls: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that send an SDK or the Terraform provider to the emulators at `urls`, by their names."""
    services = {f"AWS_ENDPOINT_URL_{service}": urls["moto"] for service in MOTO_SERVICES if "moto" in urls}
    return {"AWS_ENDPOINT_URL": urls["ministack"], **services}


class Emulators:
    """The emulators as child processes on free ports of 127.0.0.1; a context manager.

    `names`: which to start; without moto, its services are asked of ministack. Logs go to `folder`. States are kept in
    memory: stopping loses them.

    Raises:
        DependencyError: ministack or moto is not installed.
        UnreachableError: one did not answer in time; its log is named.
    """

    def __init__(self, folder: Path, *, names: Sequence[str] = ("ministack", "moto"), corrected: bool = True) -> None:
        self._folder = folder
        self._names = names
        self._corrected = corrected
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._session: Any = None

    def __enter__(self) -> Emulators:
        try:
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
        return ACCOUNT_ID

    def url(self, emulator: str) -> str:
        """Endpoint of `ministack` or `moto`."""
        return f"http://127.0.0.1:{self._ports[emulator]}"

    def endpoints(self) -> Mapping[str, str]:
        """Environment variables by which an SDK or the Terraform provider uses the emulators: addresses and key."""
        return {**endpoint_variables({name: self.url(name) for name in self._ports}), **self.key.variables}

    @property
    def key_file(self) -> Path:
        return self._folder / "key.json"

    @property
    def key(self) -> AwsKey:
        """What the emulators ask their callers for."""
        return ensure_aws_key(self.key_file)

    def client(self, service: str, region: str) -> Any:
        """A boto3 client of one service that asks the emulator the provider would ask."""
        import boto3

        if self._session is None:
            self._session = boto3.Session(botocore_session=emulated.session(self.key))
        variable = f"AWS_ENDPOINT_URL_{_ENDPOINT_NAMES.get(service, service).upper().replace('-', '_')}"
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoints().get(variable, self.url("ministack")),
            config=emulated.client_config(),
        )
        return emulated.sign_everything(client)

    def stop(self) -> None:
        """Stop what was started; again does nothing."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _start(self, emulator: str) -> None:
        port = _free_port()
        ensure_aws_key(self.key_file)
        command = [sys.executable, "-m", "mjctl.sandbox.serve", emulator, str(port), "--key", str(self.key_file)]
        with self._log(emulator).open("wb") as log:
            self._processes[emulator] = subprocess.Popen(
                command if self._corrected else [*command, "--uncorrected"],
                env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._ports[emulator] = port

    def _wait_until_up(self, emulator: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._processes[emulator].poll() is not None:
                log = self._log(emulator).read_text(encoding="utf-8", errors="replace")
                if "ModuleNotFoundError" in log:
                    raise DependencyError(
                        f"{emulator} is not installed", hint="install the extras `local` and `sandbox` of mjctl"
                    )
                raise UnreachableError(f"{emulator} ended while starting", where=str(self._log(emulator)))
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
