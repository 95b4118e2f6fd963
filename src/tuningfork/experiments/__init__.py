"""The paper's experiments, and searches: many trainings, one report."""
