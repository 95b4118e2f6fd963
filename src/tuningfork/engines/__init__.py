"""Who does the parts of a prediction: processes of this machine, or a cluster. All give the same rows."""
