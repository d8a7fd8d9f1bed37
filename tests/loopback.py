"""A stand-in for TF Serving on this machine: its two protocols over a loaded SavedModel.

REST as https://www.tensorflow.org/tfx/serving/api_rest describes it, gRPC by the service that
`tensorflow-serving-api` generated. A version is warmed up as TF Serving does: each request
logged in `assets.extra/tf_serving_warmup_requests` is run before the first one is answered.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import tensorflow as tf


class Servable:
    """A loaded version; `requests` counts those of the warm-up."""

    def __init__(self, version, warm=True):
        self._model = tf.saved_model.load(str(version))
        self.signatures, self.requests = self._model.signatures, 0
        if warm:
            from tensorflow_serving.apis import prediction_log_pb2

            path = str(version / "assets.extra" / "tf_serving_warmup_requests")
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                log = prediction_log_pb2.PredictionLog.FromString(record)
                assert log.WhichOneof("log_type") == "predict_log"
                self.answer(log.predict_log.request)
                self.requests += 1

    def answer(self, request):
        """Returns the outputs of a `PredictRequest`, by name."""
        signature = request.model_spec.signature_name or "serving_default"
        return self.run(signature, {name: tf.constant(tf.make_ndarray(value))
                                    for name, value in request.inputs.items()})

    def run(self, signature, inputs):
        return {name: x.numpy() for name, x in self.signatures[signature](**inputs).items()}


@contextlib.contextmanager
def serve_rest(servable):
    """Yields the URL of a model over REST."""
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                assert self.path == "/v1/models/reid:predict"
                status, answer = 200, _answer(servable, body)
            except tf.errors.InvalidArgumentError as error:
                status, answer = 400, {"error": error.message}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            """Prints nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/models/reid"
    finally:
        server.shutdown()
        server.server_close()


def _answer(servable, body):
    signature = body.get("signature_name", "serving_default")
    specs = servable.signatures[signature].structured_input_signature[1]
    if "inputs" in body:
        found = servable.run(signature, {
            name: tf.constant(_plain(x), specs[name].dtype) for name, x in body["inputs"].items()})
        return {"outputs": {name: x.tolist() for name, x in found.items()}}
    inputs = {name: tf.constant([_plain(row[name]) for row in body["instances"]], spec.dtype)
              for name, spec in specs.items()}
    found = servable.run(signature, inputs)
    rows = [dict(zip(found, row)) for row in zip(*(x.tolist() for x in found.values()))]
    # A single output comes without its name.
    return {"predictions": rows if len(found) > 1 else [next(iter(row.values())) for row in rows]}


def _plain(value):
    """Decodes binary values, which are objects {"b64": ...}."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_plain(one) for one in value] if isinstance(value, list) else value


@contextlib.contextmanager
def serve_grpc(servable):
    """Yields the target of a server of the model `reid` over gRPC."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "reid"
            response = predict_pb2.PredictResponse()
            try:
                for name, values in servable.answer(request).items():
                    response.outputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(values)))
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            return response

    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
