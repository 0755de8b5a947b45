"""Fine-tuning a network in int8: the graph that an engine is to run, trained in PyTorch.

The graph is that of :mod:`fleetnet.export.quantize`, with the same rounding at the same places. So
nothing here knows a network's layers, and every network that can be quantised can be fine-tuned.
"""
