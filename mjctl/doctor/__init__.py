"""Checks whether this machine has the programs, rights and resources that mjctl needs."""
