"""Active learning (which galaxies to label next), and labelling campaigns."""
