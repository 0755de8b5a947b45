"""bRPC's protocol ``baidu_std``: the same service and messages as over gRPC."""
