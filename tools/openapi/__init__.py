"""Writes the API's own description, openapi.json."""
