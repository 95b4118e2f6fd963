"""Many images to one table: chunks, resume, local processes or a Ray cluster."""
