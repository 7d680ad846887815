"""Makes what the API says of itself: openapi.json."""
