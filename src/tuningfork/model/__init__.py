"""A trained model on disk (a bundle) and what it predicts, with uncertainty."""
