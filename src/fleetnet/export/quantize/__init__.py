"""A bundle's network in int8, for OpenVINO and ONNX Runtime, as accurate as asked for.

Post-training quantisation: calibration images show the ranges of the activations, weights and
activations are rounded to 8 bits, and validation images show whether the answers are still the
same. Nothing here needs PyTorch.
"""
