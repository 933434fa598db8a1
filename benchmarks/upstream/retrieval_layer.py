"""Which hidden state XTREME calls layer 13 or 7: sentence vectors by its own function, of random encoders.

    git clone https://github.com/google-research/xtreme && git -C xtreme checkout 838c13b
    python benchmarks/upstream/retrieval_layer.py xtreme tests/data/retrieval_layer.json

`extract_embeddings` of third_party/evaluate_retrieval.py runs as it stands, with the functions it calls there. In place
of loading are a model (of transformers' class now, returning what the class returned then) and a tokenizer of numbers.
The vectors are written for tests/test_retrieval.py, which compares them with ours.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

SENTENCES = [[5, 9, 3], [7, 4, 8, 6, 10, 11, 3], [12], [9, 9, 5, 13, 14]]
"""Ids of the words of some sentences; 0 pads, 1 and 2 stand before and after."""
LAYERS = {24: (13, "mean"), 12: (7, "mean")}
"""Layers of an encoder -> `--specific_layer` and pooling of scripts/run_tatoeba.sh."""


def weights(shape: tuple[int, ...], number: int) -> torch.Tensor:
    """Return weights that every machine draws alike."""
    return torch.from_numpy(np.random.RandomState(number).normal(0.0, 0.3, shape).astype(np.float32))


def encoder(layers: int) -> transformers.BertModel:
    """Return a small encoder with as many layers."""
    config = transformers.BertConfig(
        vocab_size=16,
        hidden_size=8,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    model = transformers.BertModel(config)
    model.eval()
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
            if "LayerNorm" not in name:
                parameter.copy_(weights(tuple(parameter.shape), number))
    return model


class _Words:
    pad_token, cls_token, sep_token = "0", "1", "2"

    @staticmethod
    def convert_tokens_to_ids(words: list[str]) -> list[int]:
        return [int(word) for word in words]


def xtreme(folder: Path, layers: int, number: int, pooling: str) -> np.ndarray:
    """Return the sentence vectors of XTREME's `--num_layers {layers} --specific_layer {number}`."""
    model = encoder(layers)

    def called(**batch: torch.Tensor) -> tuple[Any, ...]:
        found = model(**batch, output_hidden_states=True)
        return found.last_hidden_state, found.pooler_output, found.hidden_states

    source = folder / "third_party/evaluate_retrieval.py"
    tree = ast.parse(source.read_text("utf-8"), source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "main"]
    functions: dict[str, Any] = {"os": os, "np": np, "torch": torch, "logger": logging.getLogger()}
    functions["tqdm"] = lambda items, **_: items
    exec(compile(tree, source, "exec"), functions)  # noqa: S102 (the checkout the user named)
    functions["load_model"] = lambda *_, **__: (None, called, _Words, 0)
    with tempfile.TemporaryDirectory() as temporary:
        words = Path(temporary) / "words"
        words.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in SENTENCES), encoding="utf-8")
        arguments = argparse.Namespace(
            num_layers=layers,
            model_type="bert",
            batch_size=len(SENTENCES),
            embed_size=8,
            device="cpu",
            max_seq_length=512,
            pool_skip_special_token=False,
        )
        every = functions["extract_embeddings"](arguments, "", str(words), f"{temporary}/vectors", pool_type=pooling)
    vectors: np.ndarray = every[number]
    return vectors


def main() -> None:
    """Compare with the hidden states, and write the vectors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("xtreme", type=Path, help="Folder of google-research/xtreme.")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    written = []
    for layers, (number, pooling) in LAYERS.items():
        vectors = xtreme(arguments.xtreme, layers, number, pooling)
        longest = max(map(len, SENTENCES)) + 2
        ids = [[1, *one, 2] for one in SENTENCES]
        batch = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
        mask = (batch != 0).long()
        with torch.no_grad():
            states = encoder(layers)(batch, mask, output_hidden_states=True).hidden_states
        for state in (number, number + 1):
            mean = (states[state] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            away = float(np.abs(mean.numpy() - vectors).max())
            print(f"{layers} layers, --specific_layer {number}: hidden state {state} differs by {away:.3g}")
        written.append({"layers": layers, "specific_layer": number, "pooling": pooling, "vectors": vectors.tolist()})
    arguments.output.write_text(json.dumps(written) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
