"""Runs Terraform, and reads its streams, plans, states and outputs.

The package also locks units and verifies saved plans.
"""
