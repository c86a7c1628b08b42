"""A proof as one HTML page."""
