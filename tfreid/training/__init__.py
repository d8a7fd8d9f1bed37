"""Training: strategy, steps, schedules, checkpoints and what TensorBoard shows."""
