from __future__ import annotations

from pathlib import Path

from mjctl.cli.commands.package import functions_fields, image_fields
from mjctl.cli.output.documents import document
from mjctl.package.functions import FunctionPackage
from mjctl.package.image import Image


def test_the_document_of_package_has_the_published_fields() -> None:
    functions = FunctionPackage(Path("/cache/functions.zip"), "c2hh", "x86_64", "3.13", 10, 20, built=True)
    image = Image("registry/arena", "0" * 64, "sha256:1", pushed=False)
    fields = {"revision": "0" * 64, "functions": functions_fields(functions), "image": image_fields(image)}
    shown = document("package", "sandbox", (), fields).model_dump()
    assert (shown["functions"]["made"], shown["image"]["made"]) == (True, False)
    assert shown["image"]["reference"] == "registry/arena@sha256:1"
