"""Runs containers as processes of this machine, behind the part of docker-py's interface that ministack uses.

ministack has schedulers for ECS services. The schedulers start, watch and stop containers by docker-py's interface:
https://docker-py.readthedocs.io/en/stable/containers.html

A `Recipe` is a function that returns the command, the environment and the working folder for a container of an image.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from mjctl.files import append_private
from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.leftovers import VARIABLE

NETWORK = "stage"
"""Name of the Docker network that ministack gives to its containers."""

TASK_LABEL = "com.amazonaws.ecs.task-arn"
"""Name of the label with the ARN of the ECS task to which a container belongs."""

_EXEC_SECONDS = 30.0
_FOLLOW_SECONDS = 0.2
_LAST_LINES = 1000
# The exit code that a shell and Docker report for a program that does not exist.
_NOT_FOUND = 127
# Matches the folders that ministack creates inside a container for certificates.
_COPIED_FOLDERS = re.compile(r"(?<![\w/])/ministack-[a-z-]+-tls")


@dataclass(frozen=True)
class ContainerCommand:
    """Describes the process of a container.

    Attributes:
        arguments: The program and its arguments.
        environment: All environment variables of the process.
        folder: The working folder.
        stop_signal: The signal on which the process ends in an orderly way.
    """

    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM


Recipe = Callable[["Container"], ContainerCommand]


class ExecResult(NamedTuple):
    """Holds the result of `Container.exec_run`. docker-py has a class with the same fields."""

    exit_code: int
    output: bytes


class ImageMissing(Exception):
    """Reports that no registry has an image, or that the stage cannot run the image."""


@dataclass
class ContainerEngine:
    """Replaces docker-py's client.

    Attributes:
        folder: The folder that contains a subfolder for each container, with the container's files and log.
        addresses: The source of the containers' addresses.
        recipes: Pairs of a pattern and a recipe. The recipe of the first pattern that matches an image's name runs the
            image.
        pull: Returns the digest of an image, `sha256:…`. Raises ImageMissing if no registry has the image.
        mark: The value of an environment variable of all processes, by which leftovers.py finds the processes.
        all: The containers by id, in the order of their creation.
    """

    folder: Path
    addresses: Addresses
    mark: str
    recipes: list[tuple[re.Pattern[str], Recipe]] = field(default_factory=list)
    pull: Callable[[str], str] = lambda image: f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
    all: dict[str, Container] = field(default_factory=dict)
    closing: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.containers = SimpleNamespace(run=self._run, create=self._create, get=self._get, list=self._list)
        self.images = SimpleNamespace(pull=self._pull, get=self._image, get_registry_data=self._registry_data)
        self.volumes = SimpleNamespace(get=lambda name: SimpleNamespace(name=name, remove=lambda **_: None))
        self.networks = SimpleNamespace(get=lambda name: SimpleNamespace(name=name, attrs={"IPAM": {"Config": []}}))

    def recipe(self, image: str) -> Recipe:
        """Return the recipe that runs an image.

        Raises:
            ImageMissing: no recipe runs the image.
        """
        for pattern, recipe in self.recipes:
            if pattern.search(image):
                return recipe
        raise ImageMissing(f"no recipe of the stage runs the image {image}")

    def running(self) -> list[Container]:
        """Return the containers whose processes run."""
        return [container for container in list(self.all.values()) if container.running]

    def aliases(self) -> dict[str, str]:
        """Return the addresses of the running containers, by the containers' names in the Docker network."""
        return {name: container.address for container in self.running() for name in container.aliases}

    def end_tasks(self) -> None:
        """End the processes of ECS tasks, and let ministack's schedulers believe that the processes still run.

        ministack saves these containers as running, so the next start of the sandbox starts them again.
        """
        self.closing = True
        _stop_all([container for container in self.running() if container.is_task])

    def close(self) -> None:
        """End the processes of ECS tasks, and then all other processes.

        ministack's schedulers start no process again.
        """
        self.end_tasks()
        _stop_all(self.running())

    def _run(self, image: str, **options: Any) -> Container:
        container = self._create(image, **options)
        container.start()
        return container

    def _create(self, image: str, **options: Any) -> Container:
        container = Container(self, image, options, self.recipe(image))
        self.all[container.id] = container
        return container

    def _get(self, identifier: str) -> Any:
        if identifier == os.environ.get("HOSTNAME", ""):
            # ministack passes this machine's host name, to find the address at which containers reach ministack.
            networks = {NETWORK: {"IPAddress": "127.0.0.1"}}
            return SimpleNamespace(id="ministack", attrs={"NetworkSettings": {"Networks": networks}})
        for container in list(self.all.values()):
            if identifier in (container.id, container.name):
                return container
        raise KeyError(identifier)

    def _list(self, **_: Any) -> list[Container]:
        return list(self.all.values())

    def _pull(self, image: str, **_: Any) -> Any:
        self.pull(image)
        return SimpleNamespace(id=image, tag=lambda *_, **__: True)

    def _image(self, image: str, **_: Any) -> Any:
        self.recipe(image)
        return SimpleNamespace(id=image)

    def _registry_data(self, image: str, **_: Any) -> Any:
        return SimpleNamespace(id=self.pull(image))


class Container:
    """Runs one process behind docker-py's interface of a container.

    Attributes:
        id: The container's random id.
        name: The name that ministack gave to the container, or else the container's id.
        image: The name of the image.
        options: The arguments with which ministack called `containers.run` of docker-py.
        labels: The container's labels.
        environment: The environment variables that ministack gave to the container.
        address: The loopback address of the container.
        folder: The private folder for the container's files and its log.
        aliases: The container's names in the Docker network.
    """

    def __init__(self, engine: ContainerEngine, image: str, options: Mapping[str, Any], recipe: Recipe) -> None:
        self.id = uuid.uuid4().hex
        self.engine, self.image, self.options = engine, image, options
        self.name = str(options.get("name") or self.id)
        self.labels = dict(options.get("labels") or {})
        self.environment = dict(options.get("environment") or {})
        # The containers of an ECS task share one address, because on AWS they share one network interface.
        self._address_name = str(self.labels.get(TASK_LABEL) or self.name)
        self.address = engine.addresses.of(self._address_name)
        self.folder = engine.folder / self.name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        networking = (options.get("networking_config") or {}).get(options.get("network"), {})
        self.aliases = tuple(networking.get("Aliases") or ())
        self._recipe = recipe
        self._command: ContainerCommand | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signal = signal.SIGTERM
        # The entrypoint of a container with TLS waits until ministack has copied a certificate into the container.
        self._waits_for_files = "ready" in str(options.get("entrypoint") or "")

    @property
    def attrs(self) -> dict[str, Any]:
        """Return the part of Docker's description of the container that ministack reads."""
        return {
            "NetworkSettings": {"Networks": {NETWORK: {"IPAddress": self.address}}},
            "Config": {"Labels": self.labels},
            "State": {"Status": self.status, "ExitCode": self._process.poll() if self._process else None},
        }

    @property
    def status(self) -> str:
        """Return the container's state in Docker's terms: `created`, `running` or `exited`."""
        if self._process is None:
            return "running" if self._waits_for_files else "created"
        return "running" if self.engine.closing or self._process.poll() is None else "exited"

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Return the id of the container's process, or None before its start."""
        return self._process.pid if self._process else None

    @property
    def is_task(self) -> bool:
        """Return whether the container belongs to an ECS task."""
        return TASK_LABEL in self.labels

    @property
    def log(self) -> Path:
        """Return the path of the file with the output of the process."""
        return self.folder / "log"

    def reload(self) -> None:
        """Do nothing, because `attrs` always returns the current state."""

    def start(self) -> None:
        """Start the process, unless the process runs already or the container waits for files."""
        if self._waits_for_files or self.running:
            return
        command = self._command = self._recipe(self)
        self._stop_signal = command.stop_signal
        with append_private(self.log) as log:
            self._process = subprocess.Popen(
                [str(part) for part in command.arguments],
                cwd=command.folder,
                env={**command.environment, VARIABLE: self.engine.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def put_archive(self, path: str, data: bytes) -> bool:
        """Unpack a tar archive into the container's folder. Start the process if the container waited for files."""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(self.folder / path.lstrip("/"), filter="data")
        if self._waits_for_files:
            self._waits_for_files = False
            self.start()
        return True

    def stop(self, timeout: float = 10) -> None:
        """Send the stop signal, wait up to `timeout` seconds for the process, and kill its process group."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(self._stop_signal)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self._end_group(self._process)

    def kill(self, **_: Any) -> None:
        """Kill the process group, and wait for the end of the process."""
        if self._process is not None and self.running:
            self._end_group(self._process)

    @staticmethod
    def _end_group(process: subprocess.Popen[bytes]) -> None:
        """Kill the process and its children, because a container of Docker ends when its first process ends."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, timeout: float = 10) -> None:
        """Stop the process and start it again."""
        self.stop(timeout)
        self.start()

    def remove(self, **_: Any) -> None:
        """Kill the process and forget the container. The container's folder and log stay on the disk."""
        self.kill()
        self.engine.all.pop(self.id, None)
        if self.is_task and all(other.address != self.address for other in list(self.engine.all.values())):
            self.engine.addresses.forget(self._address_name)

    def wait(self, **_: Any) -> dict[str, int]:
        """Wait for the end of the process. Returns: the exit code, or 128 + N if signal N ended the process."""
        code = self._process.wait() if self._process else 0
        return {"StatusCode": code if code >= 0 else 128 - code}

    def exec_run(self, command: Sequence[str], *, timeout: float = _EXEC_SECONDS, **_: Any) -> ExecResult:
        """Run a command with the environment of the container. `translated` changes each argument of the command.

        Args:
            command: The program and its arguments.
            timeout: The seconds after which the command is killed.

        Raises:
            subprocess.TimeoutExpired: the command took longer than `timeout`.
        """
        # Do not pass the environment of ministack's process, which contains the access key of the root user.
        environment = dict(self._command.environment) if self._command else self.environment
        arguments = [self.translated(part) for part in command]
        program = shutil.which(arguments[0], path=environment.get("PATH"))
        if program is None:
            return ExecResult(_NOT_FOUND, f"{arguments[0]}: no such program".encode())
        done = subprocess.run(
            [program, *arguments[1:]],
            capture_output=True,
            cwd=self._command.folder if self._command else self.folder,
            env=environment,
            timeout=timeout,
            check=False,
        )
        return ExecResult(done.returncode, done.stdout + done.stderr)

    def translated(self, text: str) -> str:
        """Replace paths of the container by paths of this machine, and 127.0.0.1 by the address of the container."""
        with_paths = _COPIED_FOLDERS.sub(lambda match: f"{self.folder}{match[0]}", text)
        return with_paths.replace("127.0.0.1", self.address)

    def logs(self, *, stream: bool = False, follow: bool = False, tail: int | None = None, **_: Any) -> Any:
        """Return the last lines of the log, or an iterator over all lines of the log if `stream` is true."""
        if stream:
            return self._lines(follow=follow)
        content = self.log.read_bytes() if self.log.exists() else b""
        return b"\n".join(content.splitlines()[-(tail or _LAST_LINES) :])

    def _lines(self, *, follow: bool) -> Iterator[bytes]:
        begun = b""
        with self.log.open("rb") as file:
            while True:
                ended = not self.running
                # Wait for the rest of a line of which the process has written only the beginning.
                begun += (part := file.readline())
                if begun.endswith(b"\n") or (begun and ended and not part):
                    yield begun
                    begun = b""
                elif not part:
                    if ended or not follow:
                        return
                    time.sleep(_FOLLOW_SECONDS)


def _stop_all(containers: Sequence[Container]) -> None:
    threads = [threading.Thread(target=container.stop) for container in containers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
