"""Device formats of a trained model: LiteRT, ONNX and OpenVINO files beside a `model.json`."""
