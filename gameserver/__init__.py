"""The bundled asyncio game server: real-time matches, the functions behind the API, and the distributed cache."""
