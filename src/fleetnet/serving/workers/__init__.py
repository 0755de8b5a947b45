"""Several processes behind the same ports: a supervisor, and workers that each are a server."""
