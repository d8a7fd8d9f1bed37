"""What the command lines do: parse, call, print."""
