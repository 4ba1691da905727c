"""The data that the game servers of a region share in Redis: live servers, owners of matches, stored matches."""
