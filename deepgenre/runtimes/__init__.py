"""Networks for other runtimes: graphs in ONNX and StableHLO, and prediction by them."""
