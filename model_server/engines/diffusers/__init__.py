"""The `diffusers` engine: Stable Diffusion 3 with real weights, in PyTorch, best on a GPU."""
