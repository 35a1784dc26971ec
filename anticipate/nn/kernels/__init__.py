"""What compiled CPU kernels are made of: vectors, and threads to run on."""
