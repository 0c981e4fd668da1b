"""The binaries, the environments and the recorded results."""

import os

# Binaries side by side, and PyTorch in a comparison, share an accelerator.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
