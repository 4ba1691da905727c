"""Where Terraform gets its providers: a mirror on this machine where there is one, else the registry.

A person's own settings always win: TF_CLI_CONFIG_FILE, ~/.terraformrc, TF_PLUGIN_CACHE_DIR.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mjctl.files import write_private
from mjctl.models.account import expanded

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_OWN_FILE = Path("~/.terraformrc")
# Places in which machine images keep a mirror, beside those that Terraform itself looks into.
_PREFIXES = ("/opt", "/usr/local/share", "/usr/share", "~/.terraform.d", "~/.local/share")


def find_mirror() -> Path | None:
    """Root of a file system mirror that holds the AWS provider: $TF_PLUGIN_MIRROR, else well-known places."""
    named = os.environ.get("TF_PLUGIN_MIRROR")
    if named:
        return Path(named)
    for prefix in _PREFIXES:
        for pattern in (_PROVIDER, f"*/{_PROVIDER}", f"*/*/{_PROVIDER}"):
            for found in sorted(expanded(prefix).glob(pattern)):
                return found.parents[len(Path(_PROVIDER).parts) - 1]
    return None


def cli_configuration(mirror: Path | None) -> str:
    """Text of a Terraform CLI configuration that installs the AWS provider from `mirror` alone, or from the registry.

    Terraform asks a mirror and the registry alike; where a mirror is kept there is often no way to the registry.
    """
    if mirror is None:
        return "provider_installation {\n  direct {}\n}\n"
    blocks = (
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = ["{_PROVIDER}"]\n  }}\n'
        f'  direct {{\n    exclude = ["{_PROVIDER}"]\n  }}\n'
    )
    return f"provider_installation {{\n{blocks}}}\n"


def provider_variables(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Variables that a Terraform process needs beside `environment`; a provider is kept once, in `home`."""
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
        # Without the second, Terraform uses the cache only for providers that the code's lock file names.
        variables |= {"TF_PLUGIN_CACHE_DIR": str(cache), "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1"}
    return variables
