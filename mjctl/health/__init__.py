"""Checks the health of all parts of all regions, by concurrent small checks and by probes that log in and play."""
