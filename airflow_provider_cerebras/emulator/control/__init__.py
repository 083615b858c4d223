"""The control plane: for tests to make faults, to move time, to see requests, and to start afresh."""
