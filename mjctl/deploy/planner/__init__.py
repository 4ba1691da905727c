"""Computes the code and the variables of each unit, and decides which changes a plan may contain."""
