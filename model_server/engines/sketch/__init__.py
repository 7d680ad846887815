"""The `sketch` engine: it paints a landscape, without a model and without weights."""
