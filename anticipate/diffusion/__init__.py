"""Diffusion over label sequences: the network is only a callable here."""
