"""Serves HTTP with aiohttp: the hosting of processes, CORS, and the files of the web client."""
