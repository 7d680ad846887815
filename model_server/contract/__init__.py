"""The wire contract: OctoAI's SD3 request and response, and the images in them."""
