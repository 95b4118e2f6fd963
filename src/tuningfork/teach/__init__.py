"""People label galaxies in a browser: what to ask next, answers that are kept, agreement, and votes to train with."""
