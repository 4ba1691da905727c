"""Chooses the source of Terraform's providers: a mirror on this machine if there is a mirror, else the registry.

The user's own settings of Terraform take precedence: TF_CLI_CONFIG_FILE, ~/.terraformrc, TF_PLUGIN_CACHE_DIR.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mjctl.files import write_private
from mjctl.models.account import expanded

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_OWN_FILE = Path("~/.terraformrc")
# Folders below which mjctl searches for a mirror of Terraform's providers, because Terraform itself does not search all
# folders in which images of CI machines keep mirrors.
_PREFIXES = ("/opt", "/usr/local/share", "/usr/share", "~/.terraform.d", "~/.local/share")


def find_mirror() -> Path | None:
    """Return the folder of a mirror with the AWS provider: $TF_PLUGIN_MIRROR, or else a folder below `_PREFIXES`.

    Return None if there is no mirror with the AWS provider.
    """
    named = os.environ.get("TF_PLUGIN_MIRROR")
    if named:
        return Path(named)
    for prefix in _PREFIXES:
        for pattern in (_PROVIDER, f"*/{_PROVIDER}", f"*/*/{_PROVIDER}"):
            for provider in sorted(expanded(prefix).glob(pattern)):
                return provider.parents[len(Path(_PROVIDER).parts) - 1]
    return None


def cli_configuration(mirror: Path | None) -> str:
    """Return a Terraform CLI configuration that installs the AWS provider from `mirror` only, or from the registry.

    Terraform's default configuration would ask the registry in addition to the mirror, and a machine with a mirror
    often has no access to the registry.

    Args:
        mirror: The folder of the mirror; None to install the AWS provider from the registry.
    """
    if mirror is None:
        return "provider_installation {\n  direct {}\n}\n"
    blocks = (
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = ["{_PROVIDER}"]\n  }}\n'
        f'  direct {{\n    exclude = ["{_PROVIDER}"]\n  }}\n'
    )
    return f"provider_installation {{\n{blocks}}}\n"


def provider_variables(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables for Terraform's providers that mjctl adds to the variables of a Terraform process.

    Args:
        environment: The environment variables that the Terraform process receives from the shell.
        home: The folder in which mjctl keeps a single copy of each provider for all units.
    """
    variables = {}
    own = "TF_CLI_CONFIG_FILE" in environment or expanded(_OWN_FILE).is_file()
    if not own and (mirror := find_mirror()) is not None:
        configuration = home / "terraform.rc"
        text = cli_configuration(mirror)
        if not configuration.is_file() or configuration.read_text(encoding="utf-8") != text:
            write_private(configuration, text)
        variables["TF_CLI_CONFIG_FILE"] = str(configuration)
    if not own and "TF_PLUGIN_CACHE_DIR" not in environment:
        cache = home / "providers"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Without TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE, Terraform would use the cached copy only of providers
        # that the lock file .terraform.lock.hcl already names.
        variables |= {"TF_PLUGIN_CACHE_DIR": str(cache), "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1"}
    return variables
