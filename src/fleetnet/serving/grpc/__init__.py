"""gRPC: ``inference.GRPCInferenceService``, health and reflection."""

import os

# Read when grpcio is imported. Its core would write lines of its own form to standard error, for
# whatever a stranger sends.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
