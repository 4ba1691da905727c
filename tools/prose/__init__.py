"""Checks and samples the English of the repository: comments, docstrings, help texts, errors, test names and docs.

`python -m tools.prose` reports every sentence that breaks a rule of docs/writing.md. `python -m tools.prose.sample`
draws sentences for a reader. The lint catches known patterns only; a reader decides whether a sentence is clear.
"""
