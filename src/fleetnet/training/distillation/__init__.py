"""Distillation: a network learns from the answers of others."""

from typing import Literal

Step = Literal["teacher", "clean", "score", "merge", "train", "finetune"]
"""A step of a distillation, in their order."""
