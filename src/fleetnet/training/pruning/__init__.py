"""Pruning: a trained network with fewer channels."""

from typing import Literal

Importance = Literal["taylor", "magnitude", "random"]
"""How channels are ranked: by how much the loss would change to first order (Molchanov et al.
2019), by the norm of their weights (Li et al. 2017), or by nothing, to compare with."""
