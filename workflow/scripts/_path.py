"""Lets a script be run from anywhere: puts the library, which lies beside the scripts, on the path.

Without pathlib, whose import takes longer than all else that a script does before it hands itself over (see `warm`).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
