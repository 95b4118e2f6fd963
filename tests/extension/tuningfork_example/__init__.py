"""A package that extends tuningfork: a table format, a survey and a decision tree, one file each."""
