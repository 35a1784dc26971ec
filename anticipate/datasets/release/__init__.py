"""Releases: what they are read into, the layouts they come in, and writing them."""
