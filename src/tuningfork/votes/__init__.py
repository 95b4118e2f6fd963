"""Decision trees, vote fractions, label tables and clean-sample classes."""
