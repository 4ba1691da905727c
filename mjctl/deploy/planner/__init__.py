"""Decide which variables and code each unit gets, and what a plan may change."""
