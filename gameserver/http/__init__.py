"""Serve HTTP with aiohttp: hosting, CORS, the web client's files."""
