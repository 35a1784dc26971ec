"""`anticipate score`: scores of anybody's predictions by the protocol of the data set.

Each module named in `anticipate.score.command.SCORERS` declares its options in `add_arguments` and
runs in `run`.
"""
