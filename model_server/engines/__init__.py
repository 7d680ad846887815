"""The engines: programs that generate images for the server."""
