"""Frozen types that every layer speaks: environment, contract, plan, step, check result, errors, exit codes."""
