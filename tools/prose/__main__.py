"""Reports the sentences that break a rule, the public names without a docstring and the vague variables.

Usage: python -m tools.prose [PATH...]. A path is a file or a folder of the repository. Without a path, all files are
checked.
The exit code is 1 if there is a finding.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from tools.checkout import ROOT
from tools.prose.names import undocumented_names, vague_variables
from tools.prose.passages import SUFFIXES, checked_files, passages_of
from tools.prose.rules import findings_in

_DOCUMENTED = ("mjctl/", "gameserver/", "tools/", "bench/", "examples/")


def lines_of(paths: Sequence[str]) -> Iterator[str]:
    """Yield one line for each finding in the files below `paths`."""
    under = tuple(path.removeprefix("./") for path in paths) or ("",)
    for name in checked_files(*SUFFIXES):
        if not name.startswith(under):
            continue
        for passage in passages_of(name, (ROOT / name).read_text()):
            for finding in findings_in(passage):
                yield f"{name}:{passage.line}: {finding.advice}\n    {finding.sentence}"
        if name.endswith(".py"):
            for line, variable in vague_variables((ROOT / name).read_text()):
                yield f"{name}:{line}: variable `{variable}`: use the noun"
    python = [name for name in checked_files(".py") if name.startswith(_DOCUMENTED)]
    for missing in undocumented_names({name: (ROOT / name).read_text() for name in python}):
        if missing.file.startswith(under):
            yield f"{missing.file}:{missing.line}: `{missing.name}` has no docstring"


if __name__ == "__main__":
    lines = list(lines_of(sys.argv[1:]))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stderr.write(f"{len(lines)} findings\n")
    sys.exit(bool(lines))
