"""Lets a script be run from anywhere: puts the library, which lies beside the scripts, on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
