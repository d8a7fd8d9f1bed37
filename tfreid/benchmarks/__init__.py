"""What tools/benchmark.py measures, on random data: each function returns figures by name."""
