"""What a region of the production stacks runs, made from the code: the functions' archive and the game's image."""
