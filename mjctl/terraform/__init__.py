"""Driving Terraform: the binary, its streams, signals, locks, saved plans and outputs."""
