"""A training or a study on one page, with all its numbers beside it."""
