"""Auxiliary sources: more galaxies to train on, with labels of other kinds than the label table's."""
