"""The speed of the `diffusers` engine, with the real architectures and random weights."""
