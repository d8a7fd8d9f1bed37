"""Weight files of PyTorch and of safetensors, read without PyTorch and without running code."""
