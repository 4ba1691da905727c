"""Runs a region of target `local`: processes under a supervisor, and the program for Terraform's provisioners."""
