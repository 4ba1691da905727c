"""The queues of a region and their dead letters."""
