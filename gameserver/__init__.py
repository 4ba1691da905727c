"""The bundled asyncio game server: real-time matches, the functions of the HTTP API, and the distributed cache."""
