"""Studies of networks: the rank of random layers, and configurations of channels."""
