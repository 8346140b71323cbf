"""Calls a unary gRPC method through `xds:///` and prints what answered, as JSON: {"answers": {...}, "failed": N, "errors": [...]}.

usage: xds_client.py TARGET METHOD COUNT [REQUEST_HEX]

The bootstrap file comes from GRPC_XDS_BOOTSTRAP, as `mesh agent` sets it. No stubs: bytes in, bytes out.
"""

import collections
import json
import sys

import grpc


def main() -> None:
    target, method, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    request = bytes.fromhex(sys.argv[4]) if len(sys.argv) > 4 else b""
    answers, errors = collections.Counter(), []
    # mTLS as the control plane configures it; a cluster without TLS would fall back to a root that signs nothing.
    credentials = grpc.xds_channel_credentials(grpc.ssl_channel_credentials(root_certificates=b"none"))
    with grpc.secure_channel(target, credentials) as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        for _ in range(count):
            try:
                answers[call(request, timeout=10).hex()] += 1
            except grpc.RpcError as problem:
                errors.append(f"{problem.code()}: {problem.details()}")
    print(json.dumps({"answers": answers, "failed": len(errors), "errors": errors[:10]}))


if __name__ == "__main__":
    main()
