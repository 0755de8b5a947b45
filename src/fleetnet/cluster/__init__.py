"""Prediction by many processes on many machines, through Ray."""
