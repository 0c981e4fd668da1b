"""Serves the live page on the loopback address until it is interrupted.

    pip install -e '.[live]' && python -m experiments.live

Open the printed address in a browser: drag the green goal, turn it by its knob, watch the plan.
"""

import os
import sys

import jax
from absl import app, flags, logging

from experiments.harness.flags import begin
from experiments.live.plug import Server
from experiments.live.server import PortInUseError
from experiments.live.worlds import WORLDS


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_integer("port", 8642, "Port on the loopback address; 0 for any free one.", 0)
    flags.DEFINE_enum("world", "pusht", list(WORLDS), "The world that the page opens with.")


def main(argv: list[str]) -> None:
    """Serves until interrupted."""
    begin(argv)
    # Compiles faster, as for the workers of the tables. XLA aborts on flags it does not know, so
    # this one is kept to the versions it was tried on.
    if jax.__version__.startswith("0.10."):
        fast = "--xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fast}".strip()
    first = flags.FLAGS.world
    worlds = {first: WORLDS[first], **WORLDS}
    try:
        server = Server(worlds, flags.FLAGS.port)
    except PortInUseError as error:
        sys.exit(f"experiments.live: {error}")
    logging.set_verbosity(logging.WARNING)
    print(f"Live at {server.url}  (Ctrl-C ends it)", flush=True)
    server.wait()


if __name__ == "__main__":
    define_flags()
    app.run(main)
