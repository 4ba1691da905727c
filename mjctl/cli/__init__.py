"""The command line. A command parses its options, calls one service and prints the result; it does nothing else."""
