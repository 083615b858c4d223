"""The service itself: what it has, and every change that its state admits. Knows nothing of HTTP."""
