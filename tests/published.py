"""Repositories as the hub has them, made small: models with random weights, data sets with a few rows.

Layouts, file names and columns are those that the hub's pages and viewers show, written down here by hand and not
derived from the catalogue, which is what they are to test. `reduced` writes the same entries of the catalogue with the
counts of these rows.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

CATALOGUE = Path(__file__).parents[1] / "workflow" / "catalog"
LANGUAGES = ("en", "de", "ru", "sw")
"""Those that the small data sets hold."""
TRAIN, DEV, TEST = 24, 8, 8
_NOUNS = {
    "en": ["house", "river", "teacher", "window", "garden", "train", "letter", "winter"],
    "de": ["Haus", "Fluss", "Lehrer", "Fenster", "Garten", "Zug", "Brief", "Winter"],
    "ru": ["дом", "река", "учитель", "окно", "сад", "поезд", "письмо", "зима"],
    "sw": ["nyumba", "mto", "mwalimu", "dirisha", "bustani", "treni", "barua", "baridi"],
}
_TAILS = {"en": "is old", "de": "ist alt", "ru": "стоит давно", "sw": "ni ya zamani"}


def sentence(language: str, number: int) -> str:
    """Return one of many sentences of a language."""
    nouns = _NOUNS.get(language, _NOUNS["en"])
    return f"{nouns[number % 8]} {nouns[(number // 8 + 3) % 8]} {_TAILS.get(language, _TAILS['en'])} {number}."


# Models.

_LAYERS = 14
"""Of encoders: retrieval compares XLM-R large's fourteenth."""


def model(
    folder: Path,
    kind: str,
    form: str = "safetensors",
    *,
    width: int = 16,
    rows: int = 0,
    shape: Mapping[str, int] | None = None,
) -> None:
    """Write what a model's repository holds.

    Args:
      folder: does not exist.
      kind: mt5, byt5, xlm-roberta or deberta-v2.
      form: of the weights: safetensors, sharded (safetensors), pickle (a zip archive), legacy or parts (both pickles).
      width: of its layers.
      rows: of its embedding; 0: as many as it has pieces, to the next 16.
      shape: other keys of the configuration of mT5 and ByT5.
    """
    import torch
    import transformers

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    bert: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
    }
    bert |= {"max_position_embeddings": 520}
    t5 = {"d_model": width, "d_kv": 8, "d_ff": 2 * width, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
    t5 |= shape or {}
    made: Any
    if kind == "xlm-roberta":
        size = _vocabulary(folder / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2, pad_id=-1) + 2
        config: Any = transformers.XLMRobertaConfig(
            vocab_size=max(rows, size), pad_token_id=1, type_vocab_size=1, **bert
        )
        made = transformers.XLMRobertaForMaskedLM(config)
    elif kind == "deberta-v2":
        names: dict[str, Any] = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
        size = _vocabulary(folder / "spm.model", pad_id=0, bos_id=1, eos_id=2, unk_id=3, **names) + 1
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
        more: dict[str, Any] = {"relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm"}
        more["share_att_key"] = True
        more |= {"pos_att_type": "p2c|c2p", "position_biased_input": False, "type_vocab_size": 0}
        config = transformers.DebertaV2Config(vocab_size=max(rows, -(-size // 16) * 16), **more, **bert)
        made = transformers.DebertaV2ForMaskedLM(config)
    else:
        name = "T5" if kind == "byt5" else "MT5"
        if kind == "byt5":
            about: dict[str, Any] = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125}
            size = 384
        else:
            # mT5's own pieces end in its sentinels, with the word's mark; its configuration counts none beyond them.
            sentinels = [f"▁<extra_id_{n}>" for n in reversed(range(10))]
            size = _vocabulary(
                folder / "spiece.model",
                pad_id=0,
                eos_id=1,
                unk_id=2,
                bos_id=-1,
                byte_fallback=True,
                sentinels=sentinels,
            )
            about = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": []}
        (folder / "tokenizer_config.json").write_text(json.dumps(about))
        config = getattr(transformers, f"{name}Config")(
            vocab_size=max(rows, -(-size // 16) * 16),
            tie_word_embeddings=False,
            decoder_start_token_id=0,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            **t5,
        )
        made = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        made.lm_head = torch.nn.Linear(width, config.vocab_size, bias=False)
    made.save_pretrained(folder)
    if kind in ("mt5", "byt5"):
        written = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**written, "tie_word_embeddings": False}))
    weights(folder, form)


def weights(folder: Path, form: str) -> None:
    """Turn a folder's model.safetensors into another form."""
    import torch
    from safetensors.torch import load_file, save_file

    if form == "safetensors":
        return
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if "shared.weight" in state:
        # In a pickle one tensor has all its names; safetensors has one.
        for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            if form in ("pickle", "legacy", "parts"):
                state[name] = state["shared.weight"]
    names = list(state)
    halves = [{n: state[n] for n in names[::2]}, {n: state[n] for n in names[1::2]}]
    if form in ("sharded", "parts"):
        stem, end = ("model", "safetensors") if form == "sharded" else ("pytorch_model", "bin")
        index: dict[str, Any] = {"metadata": {}, "weight_map": {}}
        for number, half in enumerate(halves, start=1):
            name = f"{stem}-{number:05d}-of-00002.{end}"
            if form == "sharded":
                save_file(half, folder / name, metadata={"format": "pt"})
            else:
                torch.save(half, folder / name)
            index["weight_map"] |= dict.fromkeys(half, name)
        (folder / f"{stem}.{end}.index.json").write_text(json.dumps(index))
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "pickle")


def _vocabulary(path: Path, *, sentinels: list[str] | None = None, **special: Any) -> int:
    """Train a SentencePiece model on the sentences of these data sets; return how many pieces it has."""
    import sentencepiece

    texts = [sentence(language, number) for language in LANGUAGES for number in range(64)]
    texts += ["question context premise hypothesis what was the cause effect entailment neutral contradiction"] * 4
    with open(path, "wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=handle, vocab_size=560, model_type="unigram", num_threads=1,
            minloglevel=2, hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", **special,
        )  # fmt: skip
    if sentinels:
        _append(path, sentinels)
    return int(sentencepiece.SentencePieceProcessor(model_file=str(path)).vocab_size())


def _append(path: Path, pieces: list[str]) -> None:
    """Append user-defined pieces to a SentencePiece model; a message of its format may be continued at its end."""
    import struct

    for text in pieces:
        name = text.encode()
        piece = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", 0.0) + b"\x18\x04"
        with open(path, "ab") as handle:
            handle.write(b"\x0a" + bytes([len(piece)]) + piece)


# Data sets.


def data_set(folder: Path, configs: Mapping[str, Mapping[str, pa.Table | list[dict[str, Any]]]]) -> None:
    """Write a data set's repository: a card that names the configurations, and a Parquet file a split.

    Args:
      folder: of the repository.
      configs: configuration -> split -> table, or rows.
    """
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, table in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(table) if isinstance(table, list) else table, path)
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A card", ""]), encoding="utf-8")


def _pairs(
    language: str, count: int, labels: int, first: str, second: str, start: int = 0, **more: Any
) -> list[dict[str, Any]]:
    return [
        {first: sentence(language, start + i), second: sentence(language, start + i + i % labels), "label": i % labels}
        | {key: value(i) for key, value in more.items()}
        for i in range(count)
    ]


def _questions(language: str, count: int, name: str, start: int = 0, **more: Any) -> list[dict[str, Any]]:
    """SQuAD's columns: answers are lists of texts and offsets in code points."""
    found = []
    for i in range(start, start + count):
        context = f"{sentence(language, i)} {sentence(language, i + 9)}"
        answer = context.split()[1]
        asked = f"{_NOUNS.get(language, _NOUNS['en'])[i % 8]} {i}?"
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        row = {"id": f"{name}{i}", "title": "T", "context": context, "question": asked, "answers": answers}
        found.append(row | {key: value(i) for key, value in more.items()})
    return found


def _tagged(language: str, count: int, tags: int, column: str, start: int = 0, **more: Any) -> list[dict[str, Any]]:
    found = []
    for i in range(start, start + count):
        tokens = [*sentence(language, i).removesuffix(".").split(), "."]
        found.append({"tokens": tokens, column: [(i + k) % tags for k in range(len(tokens))]})
        found[-1] |= {key: value(i, tokens) for key, value in more.items()}
    return found


def _splits(rows: Any, test: str | None = "test", train: str | None = "train", dev: str | None = "validation") -> Any:
    """Return split -> rows, of a function of (count, first number)."""
    wanted = {train: (TRAIN, 0), dev: (DEV, TRAIN), test: (TEST, TRAIN + DEV)}
    return {split: rows(*numbers) for split, numbers in wanted.items() if split}


def _ud(language: str) -> Any:
    def rows(count: int, start: int) -> list[dict[str, Any]]:
        return [
            row
            | {"sent_id": f"{language}-{start + i}", "misc": ["_"] * len(row["tokens"])}
            | {"feats": [["Number=Sing", "Case=Nom|Number=Plur", "_"][k % 3] for k in range(len(row["tokens"]))]}
            for i, row in enumerate(_tagged(language, count, 18, "upos", start))
        ]

    return rows(16 * TEST, 0)


PANX = 7
NAMES = {"en": "English", "de": "German", "ru": "Russian"}
TYDIQA = {"en": "english", "ru": "russian", "sw": "swahili"}
TATOEBA = {"de": "deu", "ru": "rus", "sw": "swh"}


def data_sets() -> Iterator[tuple[str, dict[str, dict[str, list[dict[str, Any]]]]]]:
    """Yield owner/name and configurations of every data set that the shipped sweeps read, with its published columns."""

    def nli(language: str) -> Any:
        return lambda count, start: _pairs(language, count, 3, "premise", "hypothesis", start)

    yield "facebook/xnli", {code: _splits(nli(code)) for code in LANGUAGES}
    yield "stanfordnlp/snli", {"plain_text": _splits(nli("en"))}
    mnli = {"train": nli("en")(TRAIN, 0)} | {f"validation_{n}": nli("en")(DEV, 40) for n in ("matched", "mismatched")}
    yield "nyu-mll/multi_nli", {"default": mnli}
    rounds = {f"{split}_r{n}": nli("en")(DEV, 9 * n) for split in ("train", "dev", "test") for n in (1, 2, 3)}
    rounds = {
        split: [row | {"uid": f"{split}{i}", "reason": ""} for i, row in enumerate(rows)]
        for split, rows in rounds.items()
    }
    yield "facebook/anli", {"plain_text": rounds}
    qqp = _splits(lambda n, start: _pairs("en", n, 2, "question1", "question2", start, idx=lambda i: start + i))
    glue = {split: [row | {"idx": i} for i, row in enumerate(rows)] for split, rows in mnli.items()}
    yield "nyu-mll/glue", {"qqp": qqp, "mnli": glue}
    paws = {
        code: _splits(
            lambda n, start, code=code: _pairs(code, n, 2, "sentence1", "sentence2", start, id=lambda i: start + i + 1)
        )
        for code in ("en", "de")
    }
    yield "google-research-datasets/paws-x", paws
    yield (
        "unimelb-nlp/wikiann",
        {
            code: _splits(
                lambda n, start, code=code: _tagged(
                    code, n, PANX, "ner_tags", start, langs=lambda i, t, c=code: [c] * len(t), spans=lambda i, t: []
                )
            )
            for code in LANGUAGES
        },
    )
    xtreme: dict[str, Any] = {
        f"udpos.{name}": _splits(lambda n, start, code=code: _tagged(code, n, 17, "pos_tags", start))
        for code, name in NAMES.items()
    }
    for code in ("en", "de"):
        asked = {"test": _questions(code, TEST, "m"), "validation": _questions(code, DEV, "v", 40)}
        xtreme[f"MLQA.{code}.{code}"] = asked
    yield "google/xtreme", xtreme
    yield "google/xquad", {f"xquad.{code}": {"validation": _questions(code, TEST, "x")} for code in ("en", "de", "ru")}
    secondary = {
        split: [
            row
            for code, name in TYDIQA.items()
            for row in _questions(code, count if code == "en" else TEST, f"{name}-", start)
        ]
        for split, count, start in (("train", TRAIN + DEV, 0), ("validation", TEST, 70))
    }
    yield "google-research-datasets/tydiqa", {"secondary_task": secondary}
    yield (
        "mteb/tatoeba-bitext-mining",
        {
            f"{name}-eng": {
                "test": [{"sentence1": sentence(code, i), "sentence2": sentence("en", i)} for i in range(TEST)]
            }
            for code, name in TATOEBA.items()
        },
    )

    def copa(language: str) -> Any:
        return lambda count, start: [
            {
                "premise": sentence(language, start + i),
                "choice1": sentence(language, i + 2),
                "choice2": sentence(language, i + 5),
            }
            | {"question": ["cause", "effect"][i % 2], "idx": start + i, "label": i % 2}
            for i in range(count)
        ]

    yield "aps/super_glue", {"copa": _splits(copa("en"))}
    yield "cambridgeltl/xcopa", {"sw": {"validation": copa("sw")(DEV, 0), "test": copa("sw")(TEST, 20)}}
    yield (
        "lighteval/siqa",
        {
            "default": {
                split: [
                    {"context": sentence("en", s + i), "question": "Why?", "label": str(i % 3 + 1)}
                    | {f"answer{c}": sentence("en", s + i + k) for k, c in enumerate("ABC", start=1)}
                    for i in range(count)
                ]
                for split, count, s in (("train", TRAIN, 0), ("validation", DEV, 40))
            }
        },
    )
    yield (
        "rajpurkar/squad",
        {"plain_text": {"train": _questions("en", TRAIN + DEV, "s"), "validation": _questions("en", DEV, "d", 50)}},
    )
    two = _questions("en", TRAIN + DEV, "t")
    for row in two[::3]:
        row["answers"] = {"text": [], "answer_start": []}
    yield "rajpurkar/squad_v2", {"squad_v2": {"train": two, "validation": _questions("en", DEV, "w", 50)}}
    yield (
        "Rowan/hellaswag",
        {
            "default": {
                split: [
                    {"ind": i, "ctx_a": sentence("en", s + i), "ctx_b": "Then", "ctx": "", "label": str(i % 4)}
                    | {"endings": [sentence("en", s + i + k) for k in range(4)]}
                    for i in range(count)
                ]
                for split, count, s in (("train", TRAIN, 0), ("validation", DEV, 40))
            }
        },
    )
    yield (
        "allenai/cosmos_qa",
        {
            "default": {
                split: [
                    {"id": f"{split}{i}", "context": sentence("en", s + i), "question": "What then?", "label": i % 4}
                    | {f"answer{k}": sentence("en", s + i + k + 1) for k in range(4)}
                    for i in range(count)
                ]
                for split, count, s in (("train", TRAIN, 0), ("validation", DEV, 40))
            }
        },
    )
    yield (
        "tau/commonsense_qa",
        {
            "default": {
                split: [
                    {
                        "id": f"{split}{i}",
                        "question": sentence("en", s + i),
                        "question_concept": "x",
                        "answerKey": "ABCDE"[i % 5],
                    }
                    | {"choices": {"label": list("ABCDE"), "text": [f"{w} {i}" for w in _NOUNS["en"][:5]]}}
                    for i in range(count)
                ]
                for split, count, s in (("train", TRAIN, 0), ("validation", DEV, 40))
            }
        },
    )
    yield (
        "commul/universal_dependencies",
        {f"{name}": {"test": _ud(code)} for code, name in (("en", "en_pud"), ("de", "de_pud"))},
    )


COUNTS: dict[str, dict[str, dict[str, int]]] = {
    "xnli": {
        code: {"train": TRAIN, "dev": DEV, "test": TEST} if code == "en" else {"test": TEST} for code in LANGUAGES
    },
    "panx": {
        code: {"train": TRAIN, "dev": DEV, "test": TEST} if code == "en" else {"test": TEST} for code in LANGUAGES
    },
    "pawsx": {"en": {"train": TRAIN, "dev": DEV, "test": TEST}, "de": {"test": TEST}},
    "udpos": {"en": {"train": TRAIN, "dev": DEV, "test": TEST}, "de": {"test": TEST}, "ru": {"test": TEST}},
    "mlqa": {"en": {"test": TEST}, "de": {"test": TEST}},
    "xquad": {"en": {"test": TEST}, "de": {"test": TEST}, "ru": {"test": TEST}},
    "tydiqa": {"en": {"train": TRAIN, "dev": DEV, "test": TEST}, "ru": {"test": TEST}, "sw": {"test": TEST}},
    "tatoeba": {code: {"test": TEST} for code in TATOEBA},
    "xcopa": {"en": {"train": TRAIN, "dev": DEV}, "sw": {"test": TEST}},
    "siqa": {"en": {"train": TRAIN, "dev": DEV}},
    "mnli": {"en": {"train": TRAIN, "dev": 2 * DEV}},
    "anli_plus": {"en": {"train": 2 * TRAIN + 3 * DEV, "dev": 5 * DEV}},
    "qqp": {"en": {"train": TRAIN, "dev": DEV}},
    "squad_v1": {"en": {"train": TRAIN, "dev": DEV}},
    "squad_v2": {"en": {"train": TRAIN, "dev": DEV}},
    "squad_heldout": {"en": {"train": TRAIN, "dev": DEV}},
    "hellaswag": {"en": {"train": TRAIN, "dev": DEV}},
    "cosmosqa": {"en": {"train": TRAIN, "dev": DEV}},
    "csqa": {"en": {"train": TRAIN, "dev": DEV}},
    "ud_features": {"en": {"test": 16 * TEST}, "de": {"test": 16 * TEST}},
}
"""Task -> language -> rows of these data sets, for `reduced`."""
MODELS = {
    "mt5-base": ("google/mt5-base", "mt5", "legacy"),
    "mt5-small": ("google/mt5-small", "mt5", "sharded"),
    "byt5-small": ("google/byt5-small", "byt5", "legacy"),
    "byt5-base": ("google/byt5-base", "byt5", "parts"),
    "xlm-roberta-large": ("FacebookAI/xlm-roberta-large", "xlm-roberta", "safetensors"),
    "mdeberta-v3-base": ("microsoft/mdeberta-v3-base", "deberta-v2", "safetensors"),
}
"""Model of the catalogue -> repository, architecture, form of the weights."""
_HELD_OUT = {"train": TRAIN, "dev": TRAIN}


def publish(hub: Any, folder: Path, models: list[str]) -> None:
    """Publish models and all data sets on a hub, under the revisions that the catalogue pins."""
    pinned: dict[str, str] = {}
    for path in CATALOGUE.glob("*/*.yaml"):
        pinned |= dict(_revisions(yaml.safe_load(path.read_text(encoding="utf-8")).get("source", {})))
    for name in models:
        repo, kind, form = MODELS[name]
        if not (folder / name).exists():
            model(folder / name, kind, form)
        hub.add("model", repo, folder / name, commit=pinned[repo])
    for name, configs in data_sets():
        data_set(folder / name, configs)
        revision = pinned[name]
        moving = len(revision) < 40
        hub.add(
            "dataset",
            name,
            folder / name,
            commit="" if moving else revision,
            refs=("main", revision) if moving else ("main",),
        )


def _revisions(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _revisions(item)
    elif isinstance(value, dict):
        name = value.get("dataset") or value.get("repo")
        if name and "revision" in value:
            yield name, str(value["revision"])
        for item in value.values():
            yield from _revisions(item)


def reduced(folder: Path, models: list[str]) -> None:
    """Write a catalogue with the built-in entries of these data sets and models, their counts and sizes those made here."""
    for task, languages in COUNTS.items():
        (path,) = CATALOGUE.glob(f"*/{task}.yaml")
        entry = copy.deepcopy(yaml.safe_load(path.read_text(encoding="utf-8")))
        entry["languages"] = languages
        for name, wanted in entry.get("benchmarks", {}).items():
            entry["benchmarks"][name] = [code for code in wanted if code in languages]
        source = entry["source"]
        if isinstance(source.get("names"), dict):
            source["names"] = {code: name for code, name in source["names"].items() if code in languages}
        for parts in source["splits"].values():
            for part in parts if isinstance(parts, list) else [parts]:
                if isinstance(part, dict):
                    part |= {key: TRAIN for key in ("take", "skip") if key in part}
                    for key in ("only", "except"):
                        if key in part:
                            part[key] = [code for code in part[key] if code in languages] or ["xx"]
        _write(folder / path.relative_to(CATALOGUE), entry)
    for name in models:
        path = CATALOGUE / "models" / f"{name}.yaml"
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        # Of the real weights.
        entry["source"].pop("sha256", None)
        _write(
            folder / "models" / f"{name}.yaml", entry | {"hidden_size": 16, "layers": 2 if "t5" in name else _LAYERS}
        )
    shutil.copy(CATALOGUE / "languages.csv", folder / "languages.csv")


def _write(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(entry, allow_unicode=True, sort_keys=False), encoding="utf-8")
