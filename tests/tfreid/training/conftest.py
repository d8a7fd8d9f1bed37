"""Two logical CPU devices, set before TensorFlow starts, to test training on several replicas."""

from __future__ import annotations

import tensorflow as tf

_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
