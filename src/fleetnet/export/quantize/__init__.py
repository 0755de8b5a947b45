"""A bundle's network in int8, for OpenVINO and ONNX Runtime, as accurate as asked for.

Post-training quantisation: real images show which values flow where, weights and activations are
rounded to 8 bits, and other real images judge whether the answers are still the same. Nothing here
needs PyTorch.
"""
