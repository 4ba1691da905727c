"""The modules of the commands: each parses the options of a command, calls one service and prints the result."""
