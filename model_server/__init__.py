"""An SD3 image server that speaks OctoAI's contract, with a choice of engines."""
