"""The commands: each parses its arguments, calls the library and prints."""

import os

# TensorFlow reads it when it is imported, which commands do only after parsing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
