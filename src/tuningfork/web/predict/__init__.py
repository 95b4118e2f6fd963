"""The prediction service: predictions over HTTP, and a page for browsers. Needs the extra ``serve``."""
