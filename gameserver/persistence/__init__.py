"""What outlives a match: the relational database for results, the distributed table for matches and players."""
