"""The wire contract: OctoAI's SD3 request and response, and images in base64."""
