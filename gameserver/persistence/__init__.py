"""Stores the data that outlives a match: results in PostgreSQL, matches and players in DynamoDB."""
