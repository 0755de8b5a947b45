"""Distillation: a network learns from the answers of others."""
