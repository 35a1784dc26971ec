"""Metrics of the anticipation protocols: pure counts, and torchmetrics classes that sum them."""
