"""Brings production up on the stage, plays a match on it, and tests which check finds a planted fault."""
