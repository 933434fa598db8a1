"""Measure what would be cut: prepared test data under a tokenizer, at some lengths, before anything is trained.

Prints, by language, the inputs that are cut, the pieces lost (both in per cent), and the windows per input where inputs
are windowed instead (tagging and question answering on an encoder). `mean` is over the languages, English left out.
Without data and model it takes the questions of sweeps/commands.yaml and e5-small.

Example:
  python benchmarks/cuts.py
  python benchmarks/cuts.py results/commands/data/intent/*.parquet --model mine/e5-small --max-length 16 32
  python benchmarks/cuts.py results/commands/data/qa/*.parquet --bytes --interface text2text --max-length 384 1024
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import byte_tokenizer, prepared

from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.languages import ENGLISH
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows

STRIDE = 128
"""Overlap of windows in pieces, a quarter of the length where that is less."""
REPRESENTATION = Representation("mean", -1, "mean", "")
MODEL = "models/e5-small/model.json"
DATA = [f"data/qa/{language}.parquet" for language in ("en", "zh", "th", "fi", "tr", "de", "ru", "ar")]


def measured(tokenizer: Tokenizer, path: Path, interface: str, max_length: int) -> tuple[float, float, float]:
    """Return the per cent of inputs cut and of pieces lost, and the windows per input, of one file's test data."""
    kind = form(
        read_meta(path),
        tokenizer,
        interface=interface,
        limits=Limits(max_length, min(STRIDE, max_length // 4), max_length),
        representation=REPRESENTATION,
    )
    examples = kind.encode(read_rows(path, "test"), training=False)
    counts = kind.cuts(examples)
    windows = sum(len(example.inputs) for example in examples) / len(examples)
    return 100 * counts["inputs_cut"] / counts["inputs"], 100 * counts["pieces_lost"] / counts["pieces"], windows


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="prepared data, results/data/{task}/{language}.parquet")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--model", type=Path, help="a model's directory, results/models/{model}")
    whose.add_argument("--bytes", action="store_true", help="ByT5's tokenizer, which needs no model")
    parser.add_argument("--interface", choices=["encoder", "text2text"], default="text2text")
    parser.add_argument("--max-length", type=int, nargs="+", default=[32, 64])
    arguments = parser.parse_args(argv)
    files: list[Path] = arguments.data
    model: Path | None = arguments.model
    if not files or not (model or arguments.bytes):
        work = prepared(Path("results"), [MODEL, *([] if files else DATA)])
        files, model = files or [work / name for name in DATA], model or (work / MODEL).parent
    heads = [f"{what} at {length}" for length in arguments.max_length for what in ("% cut", "% lost", "windows")]
    print(f"| language | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    found: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = byte_tokenizer(Path(folder)) if arguments.bytes else Tokenizer.from_directory(model or Path())
        for path in files:
            each = (measured(tokenizer, path, arguments.interface, length) for length in arguments.max_length)
            numbers = [number for one in each for number in one]
            language = read_meta(path).language
            print(f"| {language} | {' | '.join(f'{number:.1f}' for number in numbers)} |", flush=True)
            found += [numbers] if language != ENGLISH else []
    if found:
        means = (statistics.fmean(column) for column in zip(*found, strict=True))
        print(f"| mean | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
