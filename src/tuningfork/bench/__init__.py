"""Measures how fast this machine does our work, beside what it could do and what a peer's loop does."""
