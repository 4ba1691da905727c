"""The parts of `bench/server_failover.py`: the region, the players and the audit of the events."""
