"""How fast the `diffusers` engine draws with the real architectures and random weights."""
