"""Bots that really play, and a look at what was kept of their matches."""
