"""An emulated AWS for the production stacks: two emulators behind one set of endpoints, with their gaps corrected."""
