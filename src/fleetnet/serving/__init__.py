"""Bundles as a service: one batcher behind every protocol."""
