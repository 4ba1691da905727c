"""The distributed cache as operators handle it, over one or several regions."""
