"""What to label next (active learning), and labelling campaigns."""
