"""Contains the health checks, in a module for each family of parts."""
