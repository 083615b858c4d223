"""The control plane: tests use it to inject faults, move time, read the request log, and reset the emulator."""
