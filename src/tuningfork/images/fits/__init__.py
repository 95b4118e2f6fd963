"""FITS images: which image of a file, bands, orientation, framing and stretch."""
