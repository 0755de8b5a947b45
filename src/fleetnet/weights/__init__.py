"""Weights from files, into networks."""
