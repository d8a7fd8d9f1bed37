"""The systems, a room each: network, objective, testing, export and pictures."""
