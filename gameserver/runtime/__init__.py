"""Connects a process of the game to its environment: settings, secrets, TLS, AWS, Redis and logs."""
