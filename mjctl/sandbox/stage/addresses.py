"""Assigns a loopback address to each container, to each load balancer and to the gateway of a stage.

With an address for each container, two containers can listen on the same port, as on AWS. The ports in task definitions
and endpoints are the same on the stage and on AWS. Linux accepts every address of 127.0.0.0/8 without a configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.models.errors import ConflictError

# Each stage of this machine uses one of the networks 127.64.0.0/16 to 127.126.0.0/16.
_FIRST, _LAST = 64, 126
# A stage keeps a socket open on the last address of its network. Another stage, also the stage of another user, cannot
# open a socket on the same address, and so finds that the network is in use.
_CLAIM_HOST, _CLAIM_PORT = "255.254", 20_000
_HOSTS_IN_BLOCK = 250
# An address has a number from 1 to 63,749. The third part of an address is at most 254.
_HOSTS = 255 * _HOSTS_IN_BLOCK - 1


class Addresses:
    """Assigns addresses to names, and saves the addresses in a file, so that a restarted container keeps its address.

    Attributes:
        network: The first two numbers of all addresses, e.g. `127.78`.
    """

    def __init__(self, folder: Path) -> None:
        """Claim a network that no other running stage uses, if possible the network of this stage's last start.

        Args:
            folder: The folder of the stage's files.

        Raises:
            ConflictError: other stages use all networks.
        """
        self._file = folder / "addresses.json"
        self._lock = threading.Lock()
        remembered = read_json(self._file)
        first = int(hashlib.sha256(os.fsencode(folder.resolve())).hexdigest(), 16) % (_LAST - _FIRST + 1)
        candidates = [_FIRST + (first + step) % (_LAST - _FIRST + 1) for step in range(_LAST - _FIRST + 1)]
        if isinstance(remembered.get("network"), str):
            candidates.insert(0, int(remembered["network"].split(".")[1]))
        self._claim: socket.socket
        for number in candidates:
            self._claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with suppress(OSError):
                self._claim.bind((f"127.{number}.{_CLAIM_HOST}", _CLAIM_PORT))
                self.network = f"127.{number}"
                break
            self._claim.close()
        else:
            raise ConflictError(
                f"no network is free: stages use all networks from 127.{_FIRST}.0.0/16 to 127.{_LAST}.0.0/16",
                where=str(folder),
                hint="stop sandboxes that you no longer use: `mjctl sandbox down --env ENV`",
            )
        self._numbers: dict[str, int] = dict(remembered.get("numbers", {}))
        self._latest = int(remembered.get("latest", max(self._numbers.values(), default=0)))
        self._save()

    def of(self, name: str) -> str:
        """Return the address of a name. A name keeps its address until `forget` frees the address."""
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = self._free_number()
                self._save()
            number = self._numbers[name]
        return f"{self.network}.{number // _HOSTS_IN_BLOCK}.{number % _HOSTS_IN_BLOCK + 1}"

    def forget(self, name: str) -> None:
        """Free the address of a name, e.g. of an ECS task that has ended, so that a later name can get the address."""
        with self._lock:
            if self._numbers.pop(name, None) is not None:
                self._save()

    def forget_below(self, prefix: str) -> None:
        """Free the addresses of all names that begin with `prefix`."""
        with self._lock:
            self._numbers = {name: number for name, number in self._numbers.items() if not name.startswith(prefix)}
            self._save()

    def close(self) -> None:
        """Free the network, so that another stage can claim it."""
        self._claim.close()

    def _free_number(self) -> int:
        """Return the next unused number after the latest one, so that a freed address is not soon assigned again."""
        used = set(self._numbers.values())
        steps = range(1, _HOSTS + 1)
        numbers = ((self._latest + step - 1) % _HOSTS + 1 for step in steps)
        self._latest = next(number for number in numbers if number not in used)
        return self._latest

    def _save(self) -> None:
        document = {"latest": self._latest, "network": self.network, "numbers": self._numbers}
        write_private(self._file, json.dumps(document, indent=1))
