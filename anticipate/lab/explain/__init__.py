"""`anticipate explain`: what a trained network does, from its checkpoint."""
