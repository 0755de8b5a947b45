"""The browser: a page and a module that answer as Python does, without a server."""
