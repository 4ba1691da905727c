"""Runs Terraform, and reads its streams, plans, states and outputs. Locks units and verifies saved plans."""
