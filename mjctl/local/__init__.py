"""The target `local`:

the processes of a region under a supervisor, and the program that Terraform's provisioners run.
"""
