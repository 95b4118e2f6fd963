"""The prediction service: predictions over HTTP, and a page for browsers. Needs the extra ``serve``."""

from .app import create_app
from .limits import Limits

__all__ = ["Limits", "create_app"]
