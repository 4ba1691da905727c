"""Keeps the code, the artifacts and the saved plans of releases, so that each release can be deployed again."""
