"""Writes a copy of this package whose busiest modules are compiled to C: `python -m gameserver.compilation FOLDER`.

The modules that handle inputs and frames are ordinary Python, each with a .pxd file next to it. A .pxd file contains
the types that Cython needs to compile its module to C. `make up`, the tests and a debugger run the Python modules. The
game server's image contains the compiled copy (see Dockerfile), and `make bench-game` measures the compiled copy. A
studio's rules module is compiled as well if the studio puts a .pxd file next to it.

The compilation needs the packages of mjctl's extra `compiled` and a C compiler.
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
    # Cython shall read types only from the .pxd files. Python does not enforce annotations, so types that Cython reads
    # from annotations could make valid code fail.
    "annotation_typing": False,
}


class CompilationError(Exception):
    """Reports that a module cannot be compiled, or that Cython or the C compiler is missing."""


def modules(package: Path = SOURCE) -> list[str]:
    """Return the dotted names of the modules to compile, which are the modules with a .pxd file."""
    paths = (path.relative_to(package).with_suffix("") for path in package.rglob("*.pxd"))
    return sorted(".".join((SOURCE.name, *path.parts)) for path in paths)


def compile_into(folder: Path) -> Path:
    """Write the compiled copy of the package `gameserver` into `folder`. The compilation takes about 20 s.

    Args:
        folder: the folder in which the copy `gameserver` is created. With `folder` in PYTHONPATH, Python imports the
            compiled copy.

    Returns:
        The path of the compiled copy.

    Raises:
        CompilationError: Cython, picows or the C compiler is missing, a module does not compile, or `folder` already
            contains the package. If a module does not compile, the copy is deleted.
    """
    try:
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError, CCompilerError
    except ImportError as error:
        raise CompilationError(
            f"{error.name} is not installed: run in the checkout: pip install --editable '.[compiled]'"
        ) from error
    copy = folder / SOURCE.name
    if copy.exists():
        raise CompilationError(f"{copy} already exists: name another folder, or delete the old copy")
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    sources = {name: folder.joinpath(*name.split(".")).with_suffix(".py") for name in modules(copy)}
    extensions = [Extension(name, [str(path)], extra_compile_args=["-O3"]) for name, path in sources.items()]
    try:
        cythonized = cythonize(
            extensions, compiler_directives=_DIRECTIVES, include_path=[str(folder), *_definitions()], quiet=True
        )
        build: Any = Distribution({"ext_modules": cythonized}).get_command_obj("build_ext")
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
    """Return the folders in which Cython shall look for the .pxd files of picows."""
    spec = importlib.util.find_spec("picows")
    if spec is None or spec.origin is None:
        raise CompilationError("picows is not installed: run in the checkout: pip install --editable '.[compiled]'")
    return [str(Path(spec.origin).parents[1])]


def main() -> int:
    """Run the command, and return its exit code: 1 if a module could not be compiled."""
    parser = argparse.ArgumentParser(prog="python -m gameserver.compilation", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder in which the compiled copy `gameserver` is created")
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
