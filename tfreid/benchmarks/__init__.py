"""The measurements of tools/benchmark.py; each function returns figures by name."""
