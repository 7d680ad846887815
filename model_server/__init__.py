"""An SD3 image server that speaks OctoAI's contract, with engines to choose from."""
