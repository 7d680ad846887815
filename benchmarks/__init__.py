"""The measurements of `make bench`: this service against a naive handler."""
