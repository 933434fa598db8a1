"""Bring a Hugging Face model directory into canonical form.

Weights are read from safetensors files; where there are none, PyTorch's pickles are rewritten as such, and nothing in
them is run (see `pickles`). For the same reason no model class but transformers' own is used, whatever the directory
brings.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers

from ..errors import UserError
from ..files import read_json, replacing, write_json
from . import architectures, given, pickles, sentencepiece_files, tokenizer_files
from .tokenizer import ROLES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"
_SENTENCEPIECE = ("spiece.model", "sentencepiece.model", "spm.model", "sentencepiece.bpe.model")
# What the classes of transformers take for granted where the directory does not say.
_BERT = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
_T5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_XLMR = {**_T5, "bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
_TOKENS = {
    "bert": _BERT,
    "deberta-v2": _BERT,
    "xlm-roberta": _XLMR,
    "xlm-roberta-xl": _XLMR,
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
}
"""Model type -> names. Of any other type they are those that the directory's own files say."""
_READS_SENTENCEPIECE = ("deberta-v2", "mt5", "t5", "umt5", "xlm-roberta", "xlm-roberta-xl")
"""Types whose SentencePiece model is turned into ids here; of the others transformers does it, beforehand."""
_PROBE = "a b c d e f"
_BYT5_EXTRA = 125


def write(source: Mapping[str, Any], directory: Path, interface: str) -> dict[str, Any]:
    """Convert the folder named by `source.path`; see `convert`."""
    folder = Path(source["path"])
    return {**convert(folder, directory, interface), "source": {"type": "files", "path": str(source["path"])}}


def convert(folder: Path, directory: Path, interface: str) -> dict[str, Any]:
    """Write config.json, model.safetensors and the tokenizer of a Hugging Face model directory.

    Args:
      folder: holds config.json, weights (.safetensors files, else pytorch_model.bin or its parts) and a tokenizer.
      directory: exists; gets the canonical files.
      interface: decides the class, and so which of the weights are kept.

    Returns:
      What model.json adds: class, checks, `pooler` (False) for classes that would make one of random weights, and of
      encoders the embedding's name, width and number of layers.

    Raises:
      UserError: something is missing, damaged or does not fit; the text says what.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; a Hugging Face model directory is expected (see save_pretrained).")
    config = given.json_object(folder / "config.json")
    model_type = str(config.get("model_type"))
    try:
        name = architectures.class_name(interface, config)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from None
    weights = given.weights(folder, given.SAFETENSORS)
    pickled = [] if weights else given.weights(folder, given.PICKLE)
    if not weights and not pickled:
        raise UserError(
            f"{folder}: no weights: neither {given.SAFETENSORS} nor {given.PICKLE}, nor an index of their parts. Bring "
            "the whole directory (see save_pretrained)."
        )
    for path in weights:
        given.check_safetensors(path)
    tokenizer, tokens = read_tokenizer(folder, model_type)
    chat = read_chat(folder) if interface == "causal" else None
    tokenizer_files.save(tokenizer, tokens, directory, chat=chat)
    tried = (interface, model_type) in architectures.CLASSES
    probe = None if tried else tokenizer.encode(_PROBE).ids
    if pickled:
        # Beside the result, which is as large: a folder for temporary files may lie in memory.
        with tempfile.TemporaryDirectory(dir=directory, prefix=".rewriting.") as scratch:
            shutil.copy(folder / "config.json", scratch)
            rewritten = pickles.rewrite(pickled, Path(scratch))
            facts = _convert_weights(Path(scratch), directory, name, folder, probe)
            facts["checks"] = {"tensors_unpickled": rewritten, **facts["checks"]}
    else:
        facts = _convert_weights(folder, directory, name, folder, probe)
    return {"class": name, **facts}


_SAID = "\ue000"
"""Stands for what a user says while a chat template is rendered; of no language."""
_ANSWERED = "\ue001"
"""Stands for an answer."""
_DAY = {"%d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24", "%a": "Fri", "%A": "Friday"}
"""The day that chat templates tell: a prompt with the day it was fetched on would give other numbers the next."""
_TODAY = "".join(
    [
        "{% macro strftime_now(format) %}{{ format",
        *(f" | replace('{code}', '{text}')" for code, text in _DAY.items()),
        # A newline behind a block would be eaten, one that the template begins with.
        " }}{% endmacro %}{{ '' }}",
    ]
)
"""Before a template: what asks for the day, which transformers defines by the clock and takes from no caller."""


def read_chat(folder: Path) -> tuple[str, str, str] | None:
    """Return what a directory's chat template puts before and after what a user says, and the token that ends answers.

    None where there is no template; the token is empty where none ends answers, or the template has no place for them.

    The template runs once, here, in the sandbox that transformers has for it; no thinking is asked for, and the date
    that some of them tell is a fixed one.

    Raises:
      UserError: there is one that cannot be used.
    """
    path = folder / "tokenizer_config.json"
    config = given.json_object(path) if path.is_file() else {}
    if not config.get("chat_template") and not (folder / "chat_template.jinja").is_file():
        return None
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        how: dict[str, Any] = {
            "chat_template": _TODAY + tokenizer.get_chat_template(),
            "tokenize": False,
            "enable_thinking": False,
            "date_string": "26 Jul 2024",
        }
        said = {"role": "user", "content": _SAID}
        text = tokenizer.apply_chat_template([said], add_generation_prompt=True, **how)
    except Exception as error:  # of a template: anything
        raise UserError(f"{folder}: its chat template cannot be used ({' '.join(str(error).split())[:200]}).") from None
    parts = str(text).split(_SAID)
    if len(parts) != 2:
        raise UserError(
            f"{folder}: its chat template {'leaves out' if len(parts) == 1 else 'repeats'} what a user says."
        )
    try:
        answered = str(tokenizer.apply_chat_template([said, {"role": "assistant", "content": _ANSWERED}], **how))
    except Exception:  # some have no place for answers
        answered = ""
    # Gemma's turns end with another token than its texts.
    tail = answered.rpartition(_ANSWERED)[2].lstrip() if _ANSWERED in answered else ""
    tokens = (str(token.content) for token in tokenizer.added_tokens_decoder.values())
    return parts[0], parts[1], max((token for token in tokens if token and tail.startswith(token)), key=len, default="")


def read_tokenizer(folder: Path, model_type: str) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Read a directory's tokenizer and the names of its special tokens.

    Raises:
      UserError: there is none in a form that can be read.
    """
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= given.json_object(folder / name)
    tokens = dict(_TOKENS.get(model_type, {}))
    known = tokens.keys() if tokens else {f"{role}_token" for role in ROLES}
    for key in sorted(known & config.keys()):
        value = config[key]
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            tokens[key] = value
    vocabulary = next((folder / name for name in _SENTENCEPIECE if (folder / name).is_file()), None)
    if (folder / "tokenizer.json").is_file():
        try:
            read = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{folder / 'tokenizer.json'}: not a readable tokenizer ({error}).") from None
        return read, _with_padding(folder, read, tokens)
    if str(config.get("tokenizer_class", "")).startswith("ByT5"):
        extra = [f"<extra_id_{n}>" for n in range(int(config.get("extra_ids", _BYT5_EXTRA)))]
        return tokenizer_files.byte_level([_T5["pad_token"], _T5["eos_token"], _T5["unk_token"]], extra), tokens
    if vocabulary is not None and model_type in _READS_SENTENCEPIECE:
        return sentencepiece_files.read(vocabulary, model_type, sentinels=int(config.get("extra_ids", 0))), tokens
    raise UserError(
        f"{folder}: no tokenizer.json (nor a SentencePiece model, such as spiece.model). Make one where transformers "
        f"can read it: python -c \"import transformers; transformers.AutoTokenizer.from_pretrained('{folder}')"
        f".save_pretrained('{folder}')\"."
    )


def _with_padding(folder: Path, tokenizer: tokenizers.Tokenizer, tokens: dict[str, str]) -> dict[str, str]:
    """Return special tokens with the one that pads: named by the tokenizer's files, else by config.json.

    Raises:
      UserError: neither names one that the vocabulary holds; or nothing ends the texts of a causal model.
    """
    about = given.json_object(folder / "config.json")
    causal = ("causal", about.get("model_type")) in architectures.CLASSES
    end = tokenizer.token_to_id(tokens.get("eos_token", ""))
    if causal and end is None:
        raise UserError(
            f"{folder}: tokenizer_config.json names no eos_token of its vocabulary, so no answer would end. Name one "
            'there, for example {"eos_token": "<|endoftext|>"}.'
        )
    if tokenizer.token_to_id(tokens.get("pad_token", "")) is not None:
        return tokens
    number = about.get("pad_token_id")
    if number is None and causal:
        number = end  # many name none; masks hide it, and it is no label: any piece serves
    piece = tokenizer.id_to_token(number) if isinstance(number, int) and number >= 0 else None
    if piece is None:
        raise UserError(
            f"{folder}: no padding token: tokenizer_config.json names no pad_token of its vocabulary, config.json no "
            'pad_token_id. Write one there, for example {"pad_token": "[PAD]"}.'
        )
    return {**tokens, "pad_token": piece}


def _convert_weights(
    folder: Path, directory: Path, name: str, shown: Path, probe: list[int] | None = None
) -> dict[str, Any]:
    """Load the weights with their class, save them under its names, and compare with what was read.

    Args:
      folder: holds config.json and safetensors.
      directory: gets config.json and model.safetensors.
      name: class of transformers.
      shown: what error texts call the folder.
      probe: ids of a text, to try a class that tests do not run.

    Returns:
      What model.json says of the class and its weights.
    """
    import transformers
    from transformers.utils import logging

    model_class = getattr(transformers, name)
    options = architectures.options(model_class)
    # It advises to write tie_word_embeddings: false into a file that says so; what matters of it is compared below.
    spoken = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, loading = model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype="auto", **options
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{shown}: {name} cannot be loaded from it ({' '.join(str(error).split())[:300]}).") from None
    finally:
        logging.set_verbosity(spoken)
    if loading["missing_keys"] or loading["mismatched_keys"]:
        wrong = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
        raise UserError(
            f"{shown}: the weights do not fill {name}: {len(wrong)} missing or of another shape, among them "
            f"{wrong[0]!r}. They would be random; use weights of that architecture, or another interface."
        )
    own_output = read_json(folder / "config.json").get("tie_word_embeddings") is False and "lm_head" in dict(
        model.named_children()
    )
    paths = given.weights(folder, given.SAFETENSORS)
    if own_output and not any("lm_head.weight" in tensor_shapes(path) for path in paths):
        raise UserError(
            f"{shown}: its config.json says that the output layer is a matrix of its own (tie_word_embeddings: "
            "false), and the weights hold none (lm_head.weight). They are not whole; use another revision."
        )
    facts = {} if model.config.is_encoder_decoder else architectures.facts(model)
    if probe is not None and (wrong_form := architectures.check(model, probe, int(model.config.pad_token_id or 0))):
        raise UserError(
            f"{shown}: {name} cannot be used as an encoder: {wrong_form}. Use one of the types in docs/catalog.md."
        )
    save(model, directory)
    prefix = model.base_model_prefix
    # The files that its tensors are mapped from are compared one tensor after the other; held, they would count twice.
    del model
    checks = _compare(prefix, folder, directory / WEIGHTS)
    return {**({"pooler": False} if options else {}), **facts, "checks": checks}


def save(model: PreTrainedModel, directory: Path) -> None:
    """Write config.json and model.safetensors, one file whatever its size."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".saving.") as scratch:
        # Otherwise old names ("gamma") are written again as they were read.
        model.save_pretrained(scratch, max_shard_size="1000TB", save_original_format=False)
        # safetensors makes its files readable by their owner alone.
        shutil.copymode(Path(scratch) / "config.json", Path(scratch) / WEIGHTS)
        with replacing(directory / WEIGHTS) as temporary:
            os.replace(Path(scratch) / WEIGHTS, temporary)
        config = read_json(Path(scratch) / "config.json")
    if "tie_word_embeddings" in config:
        # The configurations of T5-like models say true in any case; whoever reads this file should find what is.
        config["tie_word_embeddings"] = "lm_head.weight" not in tensor_shapes(directory / WEIGHTS)
    write_json(directory / "config.json", config)


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Read the names and shapes in a safetensors file from its header."""
    with open(path, "rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header: Mapping[str, Any] = json.loads(handle.read(length))
    return {name: about["shape"] for name, about in header.items() if name != "__metadata__"}


def _compare(prefix: str, folder: Path, saved: Path) -> dict[str, Any]:
    """Check that the saved tensors are the folder's, and that no output layer was tied away.

    mT5's output layer is a matrix of its own, which versions of transformers have tied to the embedding on loading
    (its issues 42815, 47620, 43880).

    Args:
      prefix: what full models put before the encoder's names ("bert").
      folder: the source.
      saved: the canonical file.

    Raises:
      UserError: a tensor changed or is lost.
    """
    from safetensors import safe_open

    where: dict[str, Path] = {}
    for path in given.weights(folder, given.SAFETENSORS):
        where |= dict.fromkeys(tensor_shapes(path), path)
    origins: dict[str, str] = {}
    for name in tensor_shapes(saved):
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        candidates = (name, f"{prefix}.{name}", old, f"{prefix}.{old}")
        origin = next((candidate for candidate in candidates if candidate in where), None)
        if origin is not None:
            origins[name] = origin
    if "lm_head.weight" in where and "lm_head.weight" not in origins and "decoder.final_layer_norm.weight" in origins:
        # Tied on loading: then the two must have been the same.
        origins["shared.weight"] = "lm_head.weight"
    for name, origin in origins.items():
        # Opened for every tensor: what was looked at stays in memory until its file is closed.
        with safe_open(saved, "pt") as ours, safe_open(where[origin], "pt") as theirs:
            if not ours.get_tensor(name).equal(theirs.get_tensor(origin)):
                raise UserError(
                    f"{folder}: tensor {origin!r} changed while it was converted to {name!r}. Install the versions "
                    "of envs/ (another transformers may tie or rename weights); if it stays, report it."
                )
    left_out = sorted(where.keys() - set(origins.values()))
    return {"tensors_equal": len(origins), "tensors": len(tensor_shapes(saved)), "tensors_left_out": len(left_out)}
