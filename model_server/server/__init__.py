"""The HTTP server: routes, limits, metrics, and the engine that it runs."""
