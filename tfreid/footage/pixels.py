"""How models take colours, by name."""

# Name -> whether the colours are turned from BGR to RGB, and what is subtracted from each of the
# three, of 0 to 255, before it is divided.
PIXELS = {
    "bgr-255": (False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "rgb-255": (True, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "rgb-1": (True, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "rgb-signed": (True, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "rgb-imagenet": (True, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
