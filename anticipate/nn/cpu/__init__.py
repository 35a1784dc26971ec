"""All that exists for speed on the CPU alone: kernels compiled by numba, products by oneDNN."""
