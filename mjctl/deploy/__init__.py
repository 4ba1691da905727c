"""Bringing regions up, changing them and taking them down: planners read, executors act."""
