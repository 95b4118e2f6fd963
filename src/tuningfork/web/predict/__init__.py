"""The service: predictions over HTTP, and a page for those without a terminal. Needs the extra ``serve``."""

from .app import create_app
from .limits import Limits

__all__ = ["Limits", "create_app"]
