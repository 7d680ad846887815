"""GET /playground: the page on which people try the API in a browser."""
