"""How fast `gradlab compare` reads runs of ten and of a hundred thousand trials."""
