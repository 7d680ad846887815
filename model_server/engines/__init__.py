"""The engines, which generate images."""
