"""Auxiliary label sources: further galaxies to train on, whose labels mean something else."""
