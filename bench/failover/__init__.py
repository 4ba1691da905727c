"""Parts of `make bench-failover`."""
