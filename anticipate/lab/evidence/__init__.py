"""`anticipate evidence`: what the suite shows without real features, run again by one command."""
