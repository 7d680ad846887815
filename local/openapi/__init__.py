"""Makes what the API says of itself: openapi.json and docs.html."""
