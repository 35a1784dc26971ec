"""`anticipate benchmark`: how fast this package is, compared with what one would use otherwise.

A benchmark is a module with `run(quick, repeats) -> Report`. Everything that is compared runs
interleaved in one process, and its results are compared as well.
"""
