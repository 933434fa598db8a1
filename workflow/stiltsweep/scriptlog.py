"""Logging of the scripts: one line per event on stderr, which the rules send to the job's log."""

from __future__ import annotations

import argparse
import logging
import platform
import sys

from . import __version__


def start(arguments: argparse.Namespace) -> None:
    """Configure logging and write what is about to run: versions and resolved arguments."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("httpx", "httpx2", "urllib3", "datasets", "transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    log = logging.getLogger("stiltsweep")
    log.info("stiltsweep %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
    for key, value in sorted(vars(arguments).items()):
        log.info("  %s = %s", key, value)
