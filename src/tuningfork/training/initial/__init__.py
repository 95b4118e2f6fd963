"""Initial weights: from a trained model, ImageNet weights in a file, or a hub."""
