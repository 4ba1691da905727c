"""Builds the programs of a region on AWS from the code:

the archive of the functions and the image of the game server.
"""
