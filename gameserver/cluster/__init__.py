"""What the game servers of a region share through Redis: who is alive, who owns which match, what is stored of it."""
