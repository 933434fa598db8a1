"""Put an exported model, or the results of a finished sweep, into a repository of the Hugging Face hub.

A token that may write is asked of the hub's own client: `hf auth login`, or HF_TOKEN.

Example:
  python workflow/scripts/push.py my-slots me/my-slots --private
  python workflow/scripts/push.py results me/my-sweep
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
from stiltsweep.errors import run_script


def main() -> None:
    """Parse, send, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="one that export.py wrote, or a results folder")
    parser.add_argument("repository", help="OWNER/NAME; made if it is not there")
    parser.add_argument("--private", action="store_true", help="a new repository is seen by its owner alone")
    arguments = parser.parse_args()
    from stiltsweep.pushing import push

    print(push(arguments.folder, arguments.repository, private=arguments.private))


run_script(main)
