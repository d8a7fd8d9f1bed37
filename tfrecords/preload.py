"""Imports that the workers of a build share; only the server that forks them imports this."""

from __future__ import annotations

import gc
import os
import signal
import sys

_parent = os.getppid()
# Before the long imports: the parent gets Ctrl-C too and stops its workers, which inherit this.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import cv2  # noqa: E402, F401

from tfrecords import records  # noqa: E402, F401
from tfrecords.writer import import_tensorflow  # noqa: E402

import_tensorflow()  # without running any operation: its threads would not survive the fork
if os.getppid() != _parent:
    sys.exit()  # the build has been interrupted
# A worker's garbage collection would write to every object and thereby copy the shared pages.
gc.freeze()
