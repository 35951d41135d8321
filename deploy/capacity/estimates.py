"""What quantd itself says about requests: its Estimate call, asked with shapes alone.

Needs protoc, python3-grpcio and python3-protobuf.
"""

import importlib
import os
import subprocess
import sys
import tempfile

import grpc

from models import METHODS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROTOS = ("quantization_service", "plan", "report", "spec", "tensor")
ROLE_WEIGHT, ROLE_HESSIAN = "ROLE_WEIGHT", "ROLE_HESSIAN"


def messages():
    """The module generated from the service's own description."""
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join("quantd", "v1", name + ".proto") for name in PROTOS]
        subprocess.run(["protoc", "-I", os.path.join(ROOT, "proto"), f"--python_out={folder}", *files], check=True)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("quantd.v1.quantization_service_pb2")
        finally:
            sys.path.remove(folder)


class Server:
    """A running quantd that is asked for estimates."""

    def __init__(self, target):
        self._pb = messages()
        self._channel = grpc.insecure_channel(target)
        self.capabilities = self._call("GetCapabilities", self._pb.GetCapabilitiesRequest(),
                                       self._pb.GetCapabilitiesResponse)
        self._presets = {method.name: method.defaults for method in self.capabilities.methods}

    def _call(self, name, request, answer):
        call = self._channel.unary_unary(f"/quantd.v1.QuantizationService/{name}",
                                         request_serializer=type(request).SerializeToString,
                                         response_deserializer=answer.FromString)
        return call(request, timeout=60, wait_for_ready=True)

    def estimate(self, method, shape):
        """{input, output, peak, statistics: bytes, seconds} of a request."""
        ways = METHODS[method]
        request = self._pb.EstimateRequest()
        header = request.header
        header.job_id = "capacity"
        header.layout = self._pb.quantd_dot_v1_dot_spec__pb2.Layout.Value(ways["layout"])
        header.spec.CopyFrom(self._presets[ways["preset"]])
        for index, rows in enumerate(shape.rows):
            header.tensors.add(name=f"{index}.weight", role=ROLE_WEIGHT, dtype="DTYPE_" + shape.dtype,
                               shape=[rows, shape.cols])
        triangle = shape.cols * (shape.cols + 1) // 2
        if ways["statistics"]:
            header.tensors.add(name="0.hessian_triangle", role=ROLE_HESSIAN, dtype="DTYPE_F32", shape=[triangle])
        answer = self._call("Estimate", request, self._pb.EstimateResponse)
        if not answer.admissible:
            raise ValueError(f"{method} {shape.key()}: needs {answer.peak_bytes} bytes, more than the budget of "
                             f"{answer.budget_bytes}")
        return {"input": answer.input_bytes, "output": answer.output_bytes, "peak": answer.peak_bytes,
                "statistics": 4 * triangle * len(shape.rows) if ways["statistics"] else 0,
                "seconds": float(f"{answer.seconds:.4g}")}
