"""The sandbox: two emulators of AWS with corrections, to which the production stacks can be applied."""
