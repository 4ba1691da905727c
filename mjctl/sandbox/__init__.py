"""The sandbox: an emulated AWS for the production stacks, made of two emulators with corrections."""
