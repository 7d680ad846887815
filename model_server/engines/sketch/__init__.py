"""The `sketch` engine: it paints landscapes, without a model and without weights."""
