"""Model folders: trained from examples, verified before loading, run by onnxruntime."""
