"""Frozen types that all layers of mjctl use: environment, contract, release, results, errors and exit codes."""
