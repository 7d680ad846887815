"""The whole service on one machine: an embedded AWS, the model server, and a real deployment."""
