"""The REST service as replicas on a cluster, through Ray Serve."""
