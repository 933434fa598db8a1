"""Write a finished checkpoint as a Hugging Face folder that transformers opens, with its tokenizer and a model card.

Example:
  python workflow/scripts/export.py results/finetune/e5-small/none/slots/seed0/checkpoint.json --output my-slots
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
from stiltsweep.errors import run_script


def main() -> None:
    """Parse, write, say what opens it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.json below a results folder")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    from stiltsweep.export import export

    made = export(arguments.checkpoint, arguments.output)
    print(f"{made.folder}: transformers.{made.auto_class}.from_pretrained opens it; README.md beside it has the lines.")


run_script(main)
