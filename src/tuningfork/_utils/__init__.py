"""Files, processes, retries and errors: what all packages share and none owns."""
