"""Parts of `bench/game.py`: services, servers, load generator, search."""
