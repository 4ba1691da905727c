"""`python -m gameserver.compilation FOLDER`: a copy of this package whose busiest modules are compiled to C.

What every input and every frame goes through is ordinary Python, and runs as such from this tree: `make up`, the tests,
a debugger. Beside such a module lies a .pxd file with the types by which Cython makes C of it. The game server's image
holds the compiled copy (see Dockerfile), and `make bench-game` measures it. A studio's rules are compiled in the same
way if it puts a .pxd file beside them.

Needs the extra `compiled` and a C compiler.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).parent
_DIRECTIVES: Final = {
    "language_level": "3",
    # Types come from the .pxd alone: a Python annotation promises less than C takes it for.
    "annotation_typing": False,
}


class CompilationError(Exception):
    """What the compiler did not take, or that there is none."""


def modules(package: Path = SOURCE) -> list[str]:
    """The modules that can be compiled: those with a .pxd file."""
    found = (path.relative_to(package).with_suffix("") for path in package.rglob("*.pxd"))
    return sorted(".".join((SOURCE.name, *path.parts)) for path in found)


def compile_into(folder: Path) -> Path:
    """Write the copy into `folder`; returns its path, which goes on PYTHONPATH as `folder`. About 20 s.

    Raises:
        CompilationError: no compiler, no Cython, a module that they do not take, or `folder` has a package already.
            Nothing of it is left in `folder`.
    """
    try:
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError, CCompilerError
    except ImportError as error:
        raise CompilationError(f"{error.name} is not installed: pip install 'mjctl[compiled]'") from error
    copy = folder / SOURCE.name
    if copy.exists():
        raise CompilationError(f"{copy} is there already: give another folder, or remove it")
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    sources = {name: folder.joinpath(*name.split(".")).with_suffix(".py") for name in modules(copy)}
    extensions = [Extension(name, [str(path)], extra_compile_args=["-O3"]) for name, path in sources.items()]
    try:
        made = cythonize(
            extensions, compiler_directives=_DIRECTIVES, include_path=[str(folder), *_definitions()], quiet=True
        )
        build: Any = Distribution({"ext_modules": made}).get_command_obj("build_ext")
        build.build_lib, build.build_temp, build.parallel = str(folder), str(folder / "build"), True
        build.ensure_finalized()
        build.run()
    except (CompileError, BaseError, CCompilerError) as error:
        shutil.rmtree(copy)
        raise CompilationError(f"{SOURCE.name} does not compile: {error}") from error
    finally:
        shutil.rmtree(folder / "build", ignore_errors=True)
    for path in sources.values():
        path.with_suffix(".c").unlink()
    return copy


def _definitions() -> list[str]:
    """Where Cython finds the types of picows."""
    found = importlib.util.find_spec("picows")
    if found is None or found.origin is None:
        raise CompilationError("picows is not installed")
    return [str(Path(found.origin).parents[1])]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gameserver.compilation", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new or empty folder; it gets the package as a folder of its own")
    folder: Path = parser.parse_args().folder
    try:
        copy = compile_into(folder)
    except (CompilationError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    print(f"{len(modules(copy))} modules compiled in {copy}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
