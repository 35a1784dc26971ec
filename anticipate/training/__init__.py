"""`anticipate fit | validate | test | predict`: settings, runs, checkpoints, callbacks."""
