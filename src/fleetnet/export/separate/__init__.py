"""Converters and runtimes that do not install beside Fleetnet: environments and processes apart."""

from fleetnet.export.separate.environment import Environment
from fleetnet.export.separate.worker import Worker, convert

__all__ = ["Environment", "Worker", "convert"]
