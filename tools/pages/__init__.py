"""Generates the reference pages of docs/ that are lists of definitions in the code.

Run `python -m tools.pages` to write the pages again. tests/unit/tools/pages/test_pages.py compares each file with its
generator. tools/cli_reference.py generates docs/cli.md, and tools/json_schemas.py generates docs/schemas/.
"""
