"""Deploys the production stacks to a sandbox with a stage, plays a match, and tests which check finds a fault."""
