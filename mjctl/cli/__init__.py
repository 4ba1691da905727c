"""The command line. Each command only parses its options, calls one service and prints the result."""
