"""Middleware that guards a web application: origin, body size, timeouts, concurrency, security headers."""
