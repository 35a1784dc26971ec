"""Forecasts from the observed label sequence alone, without features or a network."""
