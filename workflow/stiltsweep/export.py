"""A finished checkpoint as a Hugging Face folder, which transformers opens: weights, tokenizer, model card.

Where transformers has a class that computes what the checkpoint computes, the folder is of that class, with `id2label`:
tagging, question answering, models that write text, and classification and multiple choice with the published heads.
A linear head on the mean of the tokens is no class of transformers: there the folder holds the encoder (AutoModel), the
head beside it (head.safetensors), and the card the lines that put them together.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from .errors import UserError
from .files import read_json, read_record, write_text
from .kinds.causal import ASK
from .layout import Layout
from .models.load import Source, weights
from .models.tensors import CHECKPOINT_FILE, HEAD, read_tensors, save_tensors
from .models.tokenizer import CONFIG as TOKENIZER_CONFIG
from .models.tokenizer import FILE as TOKENIZER
from .models.tokenizer import Tokenizer
from .report.run import licensed

ENCODER = "AutoModel"
_CLASSES = {
    "tagging": "AutoModelForTokenClassification",
    "span_qa": "AutoModelForQuestionAnswering",
    "classification": "AutoModelForSequenceClassification",
    "multiple_choice": "AutoModelForMultipleChoice",
}
_WRITING = {"text2text": "AutoModelForSeq2SeqLM", "causal": "AutoModelForCausalLM"}
"""Interface -> class that opens a model with its own output layer."""
_LINEAR = {"tagging": "classifier", "span_qa": "qa_outputs"}
"""Kinds whose linear head is that of transformers' class: the head's name there."""
_DENSE = {
    ("classification", "xlm-roberta"): ("classifier.dense", "classifier.out_proj"),
    ("classification", "bert"): ("bert.pooler.dense", "classifier"),
    ("multiple_choice", "xlm-roberta"): ("roberta.pooler.dense", "classifier"),
    ("multiple_choice", "bert"): ("bert.pooler.dense", "classifier"),
}
"""(kind, model type) -> where transformers' class has the published head's two layers."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    auto_class: str
    """The class of transformers that opens it."""


def export(checkpoint: str | Path, folder: str | Path) -> Exported:
    """Write a checkpoint as a Hugging Face folder; it appears whole or not at all.

    Args:
      checkpoint: its checkpoint.json below a results folder.
      folder: to write; must not be there.

    Raises:
      UserError: the folder is there, or the checkpoint's files are damaged or gone.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: there is something already. Name a new folder.")
    source = Source.read(checkpoint)
    if source.trained is None:
        raise UserError(f"{checkpoint}: not a checkpoint. Name a {CHECKPOINT_FILE} below finetune/ or intermediate/.")
    source.check()
    model, auto_class, head = _model(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "made"
        model.save_pretrained(made)
        if head:
            save_tensors(made / HEAD, head)
        _write_tokenizer(source, made)
        write_text(made / "README.md", _card(source, checkpoint, auto_class))
        os.replace(made, folder)
    return Exported(folder, auto_class)


def _model(source: Source) -> tuple[Any, str, dict[str, Tensor]]:
    """Return transformers' model with the weights, the class that opens it, and a head it has no place for."""
    about = source.record
    kind, labels = str(about["kind"]), list(about.get("labels") or [])
    config = transformers.AutoConfig.from_pretrained(source.base, local_files_only=True)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    tensors = weights(source, None)
    head = _head(source)
    if source.interface in _WRITING:
        model = getattr(transformers, str(source.about["class"]))(config)
        _load(model, tensors, source)
        return model, _WRITING[source.interface], {}
    placed = _placed(kind, source, head)
    if placed:
        model = getattr(transformers, _CLASSES[kind]).from_config(config)
        backbone = getattr(model, model.base_model_prefix, None)
        if isinstance(backbone, getattr(transformers, str(source.about["class"]))):
            _load(backbone, tensors, source)
            own = dict(model.named_parameters())
            with torch.no_grad():
                for name, tensor in placed.items():
                    own[name].copy_(tensor)
            return model.eval(), _CLASSES[kind], {}
    options = {"add_pooling_layer": False} if source.about.get("pooler") is False else {}
    model = getattr(transformers, str(source.about["class"]))(config, **options)
    _load(model, tensors, source)
    return model.eval(), ENCODER, head


def _head(source: Source) -> dict[str, Tensor]:
    about = source.record
    return read_tensors(source.checkpoint / HEAD) if about.get("head_sha256") and source.checkpoint else {}


def _placed(kind: str, source: Source, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the head's tensors by their names in transformers' class; empty where it computes something else."""
    layers = sorted({name.rpartition(".")[0] for name in head}, key=lambda name: int(name or 0))
    if kind in _LINEAR and len(layers) == 1:
        return {f"{_LINEAR[kind]}.{name.rpartition('.')[2]}": tensor for name, tensor in head.items()}
    names = _DENSE.get((kind, source.model_type))
    pooling = source.record["made_from"].get("representation", {}).get("pooling")
    if names is None or len(layers) != 2 or pooling != "first":
        return {}
    return {
        f"{new}.{what}": head[f"{old}.{what}"]
        for old, new in zip(layers, names, strict=True)
        for what in ("weight", "bias")
    }


def _load(model: Any, tensors: Mapping[str, Tensor], source: Source) -> None:
    """Load weights; a pooler that nothing trained is left as it is."""
    if source.about.get("output_embedding"):
        width, pieces = model.config.hidden_size, model.config.vocab_size
        model.lm_head = torch.nn.Linear(width, pieces, bias=False)
        model.config.tie_word_embeddings = False
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    shared: dict[int, set[str]] = {}
    for key, parameter in model.state_dict(keep_vars=True).items():
        shared.setdefault(id(parameter), set()).add(key)
    there = {key for keys in shared.values() if keys & tensors.keys() for key in keys}
    lacks = [key for key in missing if key not in there and not key.startswith("pooler.")]
    if lacks or unexpected:
        raise UserError(f"{source.base}: weights do not fit {type(model).__name__}: {[*lacks, *unexpected][:3]}.")


def _write_tokenizer(source: Source, folder: Path) -> None:
    shutil.copyfile(source.base / TOKENIZER, folder / TOKENIZER)
    config = read_json(source.base / TOKENIZER_CONFIG)
    inputs = ["input_ids", "attention_mask"]
    if source.interface == "encoder" and source.about.get("token_types", True) and source.model_type == "bert":
        inputs.insert(1, "token_type_ids")
    config |= {"model_input_names": inputs, "model_max_length": int(source.record["settings"]["max_length"])}
    write_text(folder / TOKENIZER_CONFIG, json.dumps(config, ensure_ascii=False, indent=1) + "\n")


def _card(source: Source, checkpoint: Path, auto_class: str) -> str:
    """Return the model card: what it is, from what, its scores, its licences, and how to use it."""
    about = source.record
    results, place = _place(checkpoint)
    described = _described(results)
    used = [name for name in (about.get("model"), about.get("intermediate"), about.get("task")) if name in described]
    licences = [
        f"* `{name}`: {described[name]['licence']}. {described[name].get('citation', '')}".rstrip() for name in used
    ]
    scores = sorted(_scores(results, about, place))
    table = [
        f"| {target} | {language} | {metric} | {score:.1f} | {n} |" for target, language, metric, score, n in scores
    ]
    arm = about.get("intermediate") or "none"
    maker = about["made_by"]
    model = about.get("model") or source.about["name"]
    settings = json.dumps(about["settings"], sort_keys=True)
    trained_on = ", ".join(about["made_from"]["data"])
    lines = [
        "---",
        "library_name: transformers",
        "license: other",
        "license_name: see-below",
        "tags: [stiltsweep, cross-lingual-transfer]",
        "---",
        "",
        f"# {model}, {arm}, {about.get('target') or about.get('task')}, seed {about['seed']}",
        "",
        f"Made by stiltsweep {maker['stiltsweep']} ({maker['commit'] or 'no commit'}): model `{model}`, "
        f"intermediate arm `{arm}`, trained on {trained_on} ({about['examples']} examples, "
        f"{about['updates']} updates). Dev: {about['dev']['metric']} {about['dev']['score']:.1f}.",
        *([] if about.get("learned", True) else ["", "**This run ended at chance level: it learned nothing.**"]),
        "",
        "## Use",
        "",
        "```python",
        *_script(source, auto_class),
        "```",
        "",
        "## Scores",
        "",
        *(
            ["| target | language | metric | score | examples |", "|---|---|---|---|---|", *table]
            if table
            else ["None were made with these weights."]
        ),
        "",
        "## Licences",
        "",
        "This model is bound by the terms of what it was made from:",
        "",
        *(licences or ["see the tasks' and the model's own pages."]),
        "",
        "## Identity",
        "",
        f"identity `{about['identity']}`, weights `{about['weights_sha256']}`; settings: `{settings}`",
    ]
    return "\n".join(lines) + "\n"


def _place(checkpoint: Path) -> tuple[Path | None, Any]:
    """Return the results folder that a checkpoint lies in, and what its path says; None where it lies elsewhere."""
    for folder in checkpoint.parents:
        if place := Layout(str(folder)).place(str(checkpoint)):
            return folder, place
    return None, None


def _described(results: Path | None) -> dict[str, Mapping[str, Any]]:
    """Return what the sweep's description says of models and tasks, by name."""
    path = Path(Layout(str(results)).path("description")) if results else None
    if path is None or not path.is_file():
        return {}
    return licensed(read_json(path))


def _scores(results: Path | None, about: Mapping[str, Any], place: Any) -> Iterator[tuple[str, str, str, float, int]]:
    """Yield the scores of cells that were made with exactly these weights."""
    if results is None:
        return
    pattern = f"{about['model']}/{about.get('intermediate') or 'none'}/*/seed{about['seed']}/*.json"
    for path in sorted((results / "cells").glob(pattern)):
        cell = read_record(path)
        if cell["digests"]["checkpoint"] == about["weights_sha256"] and not cell["shots"]:
            yield cell["target"], cell["language"], cell["metric"], cell["score"], cell["n"]


def _script(source: Source, auto_class: str) -> list[str]:
    """Return the ten lines that use the folder."""
    about = source.record
    kind = about["kind"]
    lines = [
        f"import torch, transformers{', safetensors.torch' if auto_class == ENCODER else ''}",
        'tokenizer = transformers.AutoTokenizer.from_pretrained("FOLDER")',
        f'model = transformers.{auto_class}.from_pretrained("FOLDER").eval()',
    ]
    if auto_class == ENCODER:
        pooling = about["made_from"]["representation"]["pooling"]
        lines += [
            'inputs = tokenizer(["a text"], return_tensors="pt", padding=True, truncation=True)',
            "with torch.inference_mode():",
            "    states = model(**inputs).last_hidden_state",
        ]
        mean = 'mask = inputs["attention_mask"][..., None].float(); pooled = (states * mask).sum(1) / mask.sum(1)'
        lines += [mean if pooling == "mean" else "pooled = states[:, 0]"]
        head = list(_head(source))
        if kind == "classification" and sorted(head) == ["bias", "weight"]:
            lines += [
                'head = safetensors.torch.load_file("FOLDER/head.safetensors")',
                'best = (pooled @ head["weight"].T + head["bias"]).argmax(-1).tolist()',
                "print([model.config.id2label[number] for number in best])",
            ]
        return lines
    if source.interface == "causal":
        pieces = Tokenizer.from_directory(source.base)
        chat = pieces.chat if about["made_from"]["representation"]["chat"] else None
        before, after = chat or ("", ASK)
        special = ", add_special_tokens=False" if chat else ""
        ends = [
            pieces.special["eos"],
            *([pieces.chat_end] if chat and pieces.chat_end != pieces.special["eos"] else []),
        ]
        return [
            *lines,
            f'inputs = tokenizer([{before!r} + "a text" + {after!r}], return_tensors="pt"{special})',
            "with torch.inference_mode():",
            f"    written = model.generate(**inputs, max_new_tokens=64, do_sample=False, eos_token_id={ends})",
            'print(tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())',
        ]
    text = {
        "tagging": ['inputs = tokenizer([["some", "words"]], is_split_into_words=True, return_tensors="pt")'],
        "span_qa": ['inputs = tokenizer("a question", "its context", return_tensors="pt")'],
        "multiple_choice": [
            'inputs = tokenizer(["a context"] * 2, ["one choice", "another"], return_tensors="pt", padding=True)',
            "inputs = {name: tensor[None] for name, tensor in inputs.items()}",
        ],
    }.get(kind, ['inputs = tokenizer(["a text"], return_tensors="pt", padding=True)'])
    call = "model.generate(**inputs)" if auto_class.endswith("Seq2SeqLM") else "model(**inputs)"
    return [*lines, *text, "with torch.inference_mode():", f"    print({call})"]
