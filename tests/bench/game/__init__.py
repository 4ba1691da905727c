"""Parts of `tests/bench/game.py`: services, servers, load generator, search."""
