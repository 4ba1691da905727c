"""The parts of `bench/game_server.py`: the services, the servers, the load generator and the search."""
