"""How the parts of a contract are reached: AWS APIs, database, cache, and what the persistence function wrote there."""
