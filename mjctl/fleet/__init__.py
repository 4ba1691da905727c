"""The game servers of a region, as they say and as their supervisor sees them."""
