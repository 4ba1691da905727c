"""Lists, drains and restarts the game servers of a region, and moves players between regions in a failover."""
