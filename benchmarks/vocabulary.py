"""Measure the host's memory of training a model that writes text, at three sizes of vocabulary, against the plan.

Weights are random, in mT5's published layout; the largest has its 250,112 pieces. Two updates show
it: the second holds the optimizer's states too. `whole` scores all positions of a batch at once, as before
`models/output_layer.py`; each measurement is a process of its own.

Example:
  python benchmarks/vocabulary.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import ROOT, write

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "workflow")]

ROWS = [0, 9_000, 250_112]
"""Of the embedding; 0: as many as the tokenizer has pieces."""
_WIDTH = 64
_POSITIONS = 1024
"""Pieces of the answers of one batch."""


def measure(rows: int, whole: bool) -> dict[str, Any]:
    """Train two updates in this process; return parameters, planned and measured megabytes, and the last loss."""
    import published
    import torch

    from stiltsweep.catalog import Model
    from stiltsweep.models import output_layer
    from stiltsweep.models.fetch import fetch
    from stiltsweep.resources import host_megabytes

    torch.set_num_threads(1)
    if whole:
        output_layer.MOST_LOGITS = 1 << 60
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        published.model(folder / "upstream", "mt5", width=_WIDTH, rows=rows)
        source = {"type": "files", "path": str(folder / "upstream")}
        about = fetch(Model("own", {"interface": "text2text", "source": source}), folder / "model")
        import transformers

        model = transformers.MT5ForConditionalGeneration.from_pretrained(folder / "model")
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(3, 200, (_POSITIONS // 16, 16))
    for _ in range(2):
        read = model.encoder(input_ids=ids).last_hidden_state
        vectors = model.decoder(input_ids=ids, encoder_hidden_states=read).last_hidden_state.flatten(0, 1)
        loss = output_layer.cross_entropy(vectors, model.lm_head.weight, ids.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "pieces": about["vocabulary_size"],
        "parameters": about["parameters"],
        "scores": "whole" if whole else "in parts",
        "planned, MB": host_megabytes(about["parameters"], about["parameters"]),
        "peak, MB": round(peak),
        "loss": round(loss.item() / _POSITIONS, 5),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--output", type=Path, default=Path("results/bench/vocabulary.json"))
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*json.loads(arguments.one))))
        return
    found = []
    for rows in arguments.rows:
        for whole in (True, False):
            command = [sys.executable, __file__, "--one", json.dumps([rows, whole])]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], file=sys.stderr, flush=True)
    write(arguments.output, "Vocabularies, measured", {"training": found})


if __name__ == "__main__":
    main()
