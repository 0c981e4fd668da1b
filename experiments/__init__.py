"""The binaries, the environments and the recorded results."""

import os

# Worker processes, and PyTorch in a comparison, share an accelerator: JAX must not take it whole.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
