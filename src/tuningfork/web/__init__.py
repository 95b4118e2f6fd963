"""Shared parts of the web services: guards around an app, errors of one form, static files, downloads, a server.

An app of Starlette or FastAPI becomes a safe service in three steps::

    app = FastAPI(...)
    install_errors(app)                                     # every error is {"status": 404, "error": "why"}
    app.mount("/static", StaticFolder("tuningfork.display", "tuningfork.web.label"))
    serve(guarded(app, RequestLimits()), "127.0.0.1", 8000, ready=print)

The guards read a request's complete body before the app sees it, so a route may simply ``await request.json()``.
A page links ``/static/base.css`` and its own files; it must have no inline style, script or ``on…`` attribute,
which the security headers forbid (``element.style.width = …`` from a module is allowed).

Nothing is imported here: processes that decode images import a module of this package, and no web framework.
"""
