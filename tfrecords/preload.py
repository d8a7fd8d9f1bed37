"""What the workers of a build share; only the server that forks them imports this module."""

from __future__ import annotations

import gc
import os
import signal
import sys

_parent = os.getppid()
# Ahead of the long imports: the parent gets Ctrl-C too and ends its workers, who inherit this.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import cv2  # noqa: E402, F401

from tfrecords import records  # noqa: E402, F401
from tfrecords.writer import import_tensorflow  # noqa: E402

import_tensorflow()  # and no operation of it: its threads would not survive the fork
if os.getppid() != _parent:
    sys.exit()  # the build was interrupted meanwhile
# A worker's garbage collection would write to every object, and so copy the shared pages.
gc.freeze()
