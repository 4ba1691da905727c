"""Keeps the code, the packages and the plans of releases, so that each release can be deployed again."""
