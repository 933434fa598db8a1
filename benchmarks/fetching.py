"""Measure fetching weights from the hub: seconds and memory of `fetch`, by the form that the hub has them in.

The hub is that of the tests, on this machine; the model is mT5 base with random weights, 582 million parameters in 32
bits (2.3 GB), and a small vocabulary of its own. Memory is counted twice: all that the process holds, mapped files
included, and what no file holds, which is what a machine must have.

Example:
  python benchmarks/fetching.py
  python benchmarks/fetching.py --forms legacy --size nano
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import ROOT, Peak, write

sys.path.insert(0, str(ROOT / "tests"))

import published
from local_hub import Hub

FORMS = {
    "legacy": "pickle as before 2020",
    "pickle": "pickle, a zip archive",
    "parts": "two pickles, zip archives",
    "safetensors": "safetensors",
}
SIZES: dict[str, dict[str, Any]] = {
    "base": {
        "width": 768,
        "rows": 250_112,
        "shape": {"d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12},
    },
    "nano": {"width": 64, "rows": 9_000},
}
_LOOKS = 0.05
"""Seconds between two looks at the memory."""


def measure(form: str, size: str) -> dict[str, Any]:
    """Publish a model in a form and fetch it; return what it took.

    Raises:
      SystemExit: `fetch` fails; its log was printed.
    """
    with tempfile.TemporaryDirectory(prefix="stiltsweep-fetching-") as scratch, Hub() as hub:
        upstream, output = Path(scratch) / "upstream", Path(scratch) / "model"
        # In a process of its own: what making the model leaves in memory is none of `fetch`.
        child = os.fork()
        if not child:
            published.model(upstream, "mt5", form, **SIZES[size])
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit("The model could not be made.")
        hub.add("model", "x/mt5", upstream)
        held = sum(path.stat().st_size for pattern in ("*.bin", "*.safetensors") for path in upstream.glob(pattern))
        source = {"type": "hub", "repo": "x/mt5", "revision": "main"}
        command = [sys.executable, str(ROOT / "workflow" / "scripts" / "fetch.py"), "--model", "m"]
        command += ["--definition", json.dumps({"interface": "text2text", "source": source})]
        command += ["--output", str(output / "model.json")]
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(Path(scratch) / "hf")}
        before, began = _cpu(), time.perf_counter()
        with Peak(_LOOKS) as peak:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - began
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        about = json.loads((output / "model.json").read_text(encoding="utf-8"))
        row = {
            "form": FORMS[form],
            "GB": round(held / 1e9, 3),
            "wall, s": round(wall, 1),
            "CPU, s": round(_cpu() - before, 1),
            "peak, GiB": round(peak.gib, 2),
            "of it in no file, GiB": round(peak.own_gib, 2),
            "tensors compared": about["checks"]["tensors_equal"],
            "sha256": about["weights_sha256"][:12],
        }
        print(row, file=sys.stderr, flush=True)
        return row


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--output", type=Path, default=Path("results/bench/fetching.json"))
    arguments = parser.parse_args()
    write(
        arguments.output, "Fetching, measured", {"fetch": [measure(form, arguments.size) for form in arguments.forms]}
    )


if __name__ == "__main__":
    main()
