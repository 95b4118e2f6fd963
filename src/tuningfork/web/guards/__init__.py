"""Guards around a web application: origin, size, time and number of requests."""
