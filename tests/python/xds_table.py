"""Makes the unary gRPC calls of a file through `xds:///`, and writes for each what answered it.

usage: xds_table.py CALLS ANSWERS

CALLS has a line of JSON for each call: {"host", "path", "metadata": [[name, value], ...]}; ANSWERS gets as many, in the same
order: {"status": N, "message": TEXT or null}. One process makes all of them, a few at a time, as a service would.
"""

import concurrent.futures
import json
import sys

import grpc

IN_FLIGHT = 8
SECONDS_MAX = 20


def main() -> None:
    with open(sys.argv[1]) as file:
        calls = [json.loads(line) for line in file]
    # mTLS as the control plane configures it; a cluster without TLS would fall back to a root that signs nothing.
    credentials = grpc.xds_channel_credentials(grpc.ssl_channel_credentials(root_certificates=b"none"))
    channels = {host: grpc.secure_channel(f"xds:///{host}", credentials) for host in {call["host"] for call in calls}}

    def make(call: dict) -> dict:
        method = channels[call["host"]].unary_unary(
            call["path"], request_serializer=bytes, response_deserializer=bytes
        )
        metadata = [tuple(pair) for pair in call["metadata"]]
        try:
            return {"status": 0, "message": method(b"", metadata=metadata, timeout=SECONDS_MAX).decode()}
        except grpc.RpcError as problem:
            return {"status": problem.code().value[0], "message": None, "details": problem.details()}

    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool, open(sys.argv[2], "w") as file:
        for answer in pool.map(make, calls):
            print(json.dumps(answer), file=file)
    print("all calls are made")


if __name__ == "__main__":
    main()
