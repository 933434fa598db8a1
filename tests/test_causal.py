"""Causal language models: published layouts with random weights, against transformers' own loss, scores and writing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from test_encoders import tokenizer
from test_unpadded import reads_alike
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Raw
from tokenizers import models as token_models

import tiny
from stiltsweep.catalog import Model, read
from stiltsweep.errors import UserError
from stiltsweep.export import export
from stiltsweep.files import read_json
from stiltsweep.kinds import Form, Limits, Representation, form
from stiltsweep.models import architectures, tokenizer_files
from stiltsweep.models.batches import Example
from stiltsweep.models.fetch import fetch
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.prediction import run as predict_examples
from stiltsweep.records import Row, read_meta, read_rows, write_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop

PLAIN = Representation("mean", -1, "mean", "")
CHAT = replace(PLAIN, chat=True)
LIMITS = Limits(100, 8, 16)
CPU = torch.device("cpu")
CLASSES = {kind: name for (interface, kind), name in architectures.CLASSES.items() if interface == "causal"}
STYLES = {"gemma3_text": "gemma", "mistral": "gemma"}
"""Model type -> form of its tokenizer; of the others it is Llama's, which reads bytes."""
MORE: dict[str, dict[str, Any]] = {
    # Windows that are shorter than the texts, in every other layer or in all.
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"] * 2, "head_dim": 8},
    "mistral": {"sliding_window": 6},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "smollm3": {"no_rope_layer_interval": 2, "pad_token_id": None},
}
TEMPLATE = (
    "{% for m in messages %}<|begin_of_text|>{{ m['role'] }}: {{ m['content'] | trim }}<|mask|>{% endfor %}"
    "{% if add_generation_prompt %}<|begin_of_text|>assistant: {{ date_string }}{% endif %}"
)


def upstream(folder: Path, kind: str, *, tied: bool = True, seed: int = 0) -> Any:
    """Write a directory as the hub has it, in 16 bits, and return transformers' own model of it in 32."""
    raw, tokens = tokenizer(STYLES.get(kind, "llama"))
    bos = tokens["bos_token"]
    if STYLES.get(kind) or kind == "llama":
        raw.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, raw.token_to_id(bos))]
        )
    else:  # Qwen's puts nothing around a text
        raw.post_processor = processors.ByteLevel(trim_offsets=False)
    # Llama and Mistral name no padding.
    named = {role: token for role, token in tokens.items() if role != "pad_token" or STYLES.get(kind) == "gemma"}
    torch.manual_seed(seed)
    about: Any = type(transformers.AutoConfig.for_model(kind))
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = about(
        # Published embeddings have more rows than their tokenizers pieces.
        vocab_size=raw.get_vocab_size() + 7,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        bos_token_id=raw.token_to_id(bos),
        eos_token_id=raw.token_to_id(tokens["eos_token"]),
        **{"pad_token_id": None, **sizes, **MORE.get(kind, {})},
    )
    made = getattr(transformers, CLASSES[kind])(config).to(torch.bfloat16)
    made.save_pretrained(folder)
    raw.save(str(folder / "tokenizer.json"))
    about_tokens = {"tokenizer_class": "PreTrainedTokenizerFast", **named, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(about_tokens))
    return getattr(transformers, CLASSES[kind]).from_pretrained(folder, dtype=torch.float32).eval()


def fetched(folder: Path) -> Path:
    source = {"type": "files", "path": str(folder / "upstream")}
    fetch(Model("tiny", {"interface": "causal", "source": source}), folder / "model")
    return folder / "model" / "model.json"


def made(
    start: Path, data: Path, split: str, *, training: bool, how: Representation = PLAIN
) -> tuple[TaskModel, Form, list[Row], list[Example]]:
    pieces = Tokenizer.from_directory(Source.read(start).base)
    kind = form(read_meta(data), pieces, interface="causal", limits=LIMITS, representation=how)
    rows = read_rows(data, split)
    return build(Source.read(start), kind, kept=None, seed=0).eval(), kind, rows, kind.encode(rows, training=training)


def spans(folder: Path) -> Path:
    rows = [
        {"id": f"{split}{n}", "split": split, "context": text, "question": "who?", "answers": [answer]}
        for split in ("train", "dev", "test")
        for n, text in enumerate(tiny.SENTENCES[:6])
        for answer in [{"start": text.index(" ") + 1, "text": text.split()[1]}]
    ]
    path = folder / "qa.parquet"
    write_rows(path, "span_qa", rows, tiny.about("qa", "en", ["squad_f1"]), labels=[])
    return path


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", CLASSES)
def test_loss_scores_and_answers_are_transformers_own(tmp_path: Path, kind: str, tied: bool) -> None:
    theirs = upstream(tmp_path / "upstream", kind, tied=tied)
    start = fetched(tmp_path)
    about = read_json(start)
    assert about["class"] == CLASSES[kind] and about["hidden_size"] == 16 and about["layers"] == 4
    assert (about["output_embedding"] is None) == tied
    data = tiny.classification(tmp_path / "data", train=6, dev=6, test=4)["en"]
    model, kind_of, rows, learnt = made(start, data, "train", training=True)
    # The loss of a batch is the sum of transformers' own over each text alone, answers' pieces counted only.
    with torch.no_grad():
        loss = float(kind_of.loss(model, model.collate(learnt, CPU)))
        total = 0.0
        for example in learnt:
            ids = torch.tensor([example.inputs[0].ids])
            labels = ids.clone()
            labels[0, : -len(example.target)] = -100
            total += float(theirs(input_ids=ids, labels=labels).loss) * len(example.target)
    assert loss == pytest.approx(total, rel=1e-4)
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "upstream")
    text, eos = f"{rows[0]['text_a']}\nAnswer: {rows[0]['label']}", fast.eos_token_id
    assert fast.decode(learnt[0].inputs[0].ids, skip_special_tokens=False).endswith(text + fast.eos_token)
    assert learnt[0].inputs[0].ids[-1] == eos and learnt[0].target[-1] == eos
    assert (learnt[0].inputs[0].ids[0] == fast.bos_token_id) == (kind in ("llama", *STYLES))
    # The likelihood of every answer, one pass over all of them, against a pass for each.
    _, kind_of, rows, asked = made(start, data, "dev", training=False)
    batch = model.collate(asked, CPU)
    with torch.no_grad():
        found = kind_of.likelihoods(model, batch).tolist()  # type: ignore[attr-defined]
        expected = []
        for example in asked:
            for answer in example.align:
                prompt = example.inputs[0].ids
                scores = theirs(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
                expected.append(sum(float(scores[len(prompt) + i - 1, piece]) for i, piece in enumerate(answer)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)
    best = np.array(expected).reshape(len(asked), -1).argmax(1).tolist()
    assert predict_examples(model, asked, 64) == best == predict_examples(model, asked, 4096)
    # What is written behind prompts of many lengths, against each alone.
    model, kind_of, rows, open_ = made(start, spans(tmp_path), "test", training=False)
    assert len({example.length for example in open_}) > 2
    raw = predict_examples(model, open_, 4096)
    for example, got in zip(open_, raw, strict=True):
        ids = torch.tensor([example.inputs[0].ids])
        alone = theirs.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=LIMITS.max_target_length,
            do_sample=False,
            eos_token_id=eos,
            pad_token_id=eos,
        )[0, ids.shape[1] :].tolist()
        kept = alone[: alone.index(eos)] if eos in alone else alone
        assert got.ids == [i for i in kept if i != about["special"]["pad"]] and got.ended == (eos in alone)
    assert all("\n" not in text for text in kind_of.decode(rows, open_, raw))
    # States of every layer, for retrieval and probes.
    with torch.no_grad():
        layers = model.layers(model.collate(open_, CPU))
        read = open_[0].inputs[0].ids
        own = theirs(input_ids=torch.tensor([read]), output_hidden_states=True).hidden_states
    assert len(layers) == len(own) == 5
    for one, other in zip(layers, own, strict=True):
        torch.testing.assert_close(one[0, : len(read)], other[0], atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(
    ("adapters", "how"), [({"rank": 4, "alpha": 8, "dropout": 0.1}, PLAIN), ({"rank": 8}, CHAT), (None, PLAIN)]
)
def test_a_causal_model_learns_predicts_and_is_exported(
    tmp_path: Path, adapters: dict[str, Any] | None, how: Representation, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream(tmp_path / "upstream", "qwen3")
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=96, dev=16, test=16)
    settings = TrainingSettings(
        batch_size=8, epochs=12, learning_rate=2e-2, max_length=100, max_target_length=16, evaluations=2, warmup=0.1
    )
    if adapters:
        settings = replace(settings, lora={"alpha": 16, "dropout": 0.0, **adapters})
    run = tiny.run(start, data["en"], tmp_path / "out", settings, how)
    loop.train(run)
    about = read_json(run.output)
    assert about["dev"]["score"] > 80 and about["interface"] == "causal"
    assert not about["vocabulary"]["pruned"] and "head_sha256" not in about
    folder = tmp_path / "predictions"
    predict(run.output, data, folder / "p.json", PredictionSettings(LIMITS, how, 512, True, "fp32"), identity={})
    found = dict(zip(*(read_json(folder / "en.json")[key] for key in ("ids", "predictions")), strict=True))
    rows = read_rows(data["en"], "test")
    assert sum(found[row["id"]] == row["label"] for row in rows) >= 13
    assert read_json(folder / "en.json")["sentinels"] is None
    # The card's own lines write the same answers, with the adapters in the weights.
    exported = export(run.output, tmp_path / "mine")
    assert exported.auto_class == "AutoModelForCausalLM"
    (lines,) = re.findall(r"```python\n(.*?)```", (exported.folder / "README.md").read_text(), re.DOTALL)
    assert lines.count("\n") <= 11
    model, kind, rows, asked = made(run.output, data["en"], "test", training=False, how=how)
    prompts = [example.inputs[0].ids for example in asked]
    end = kind.tokenizer.chat_end if how.chat else None
    for row, written in zip(rows[:4], model.continue_texts(prompts, 64, CPU, end), strict=False):
        text = f"tiny sentence1: {row['text_a']}"
        assert written.ended or not how.chat  # by what ends a turn, which is what was learnt
        exec(lines.replace("FOLDER", str(exported.folder)).replace('"a text"', repr(text)), {})
        answer = capsys.readouterr().out.strip("\n").splitlines()[-1]
        assert answer == kind.tokenizer.decode(written.ids).strip()


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("rounded", [False, True])
def test_reading_without_padding_changes_nothing(tmp_path: Path, kind: str, rounded: bool) -> None:
    upstream(tmp_path / "upstream", kind)
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=6, dev=4, test=4)["en"]
    model, kind_of, _, examples = made(start, data, "train", training=True)
    reads_alike(model, kind_of, examples, (0, 2, 4, -1), rounded=rounded)
    # Scores and writing, which pad, are as before on the same model.
    _, kind_of, _, asked = made(start, data, "dev", training=False)
    with torch.no_grad():
        scores = kind_of.likelihoods(model, model.collate(asked, CPU))  # type: ignore[attr-defined]
        model.unpadded = None
        again = kind_of.likelihoods(model, model.collate(asked, CPU))  # type: ignore[attr-defined]
    assert scores.equal(again)


@pytest.mark.parametrize(("max_length", "answer", "refused"), [(112, 16, False), (112, 17, True), (129, 2, True)])
def test_an_answer_has_to_fit_behind_the_longest_question(
    tmp_path: Path, max_length: int, answer: int, refused: bool
) -> None:
    """The model has 128 positions, and question and answer are one text."""
    upstream(tmp_path / "upstream", "llama")
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=8, dev=8, test=4)
    settings = TrainingSettings(max_length=max_length, max_target_length=answer, max_updates=0)
    asked = PredictionSettings(Limits(max_length, 8, answer), PLAIN, 512, True, "fp32")
    run = tiny.run(start, data["en"], tmp_path / "out", settings, PLAIN)
    if not refused:
        loop.train(run)
        predict(start, data, tmp_path / "p" / "p.json", asked, identity={})
        return
    works: list[Callable[[], Any]] = [
        lambda: loop.train(run),
        lambda: predict(start, data, tmp_path / "p" / "p.json", asked, identity={}),
    ]
    for work in works:
        with pytest.raises(UserError, match=r"but .* has 128 positions\. Set max_length: 1[12]\d or less"):
            work()


def test_a_model_that_is_only_asked_stays_as_it_is(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "qwen3")
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=8, dev=16, test=16)
    for seed in (0, 1):
        run = tiny.run(
            start,
            data["en"],
            tmp_path / f"{seed}",
            TrainingSettings(
                max_updates=0,
                max_length=100,
                max_target_length=16,
                lora={"rank": 2, "alpha": 4, "dropout": 0.0},
                retry_collapsed=3,
            ),
            PLAIN,
            seed=seed,
            chance=100.0,
        )
        loop.train(run)
        about = read_json(run.output)
        assert about["updates"] == about["tokens"] == 0 and about["dev"]["update"] == 0
        # Another seed would ask the same: it is not made again, though it is at chance level.
        assert not about["learned"] and "collapsed_tries" not in about
        for path, where in ((run.output, "trained"), (start, "base")):
            settings = PredictionSettings(LIMITS, PLAIN, 512, True, "fp32")
            predict(path, data, run.output.parent / where / "p.json", settings, identity={})
        found = [read_json(run.output.parent / where / "de.json")["predictions"] for where in ("trained", "base")]
        assert found[0] == found[1]


def test_chat_templates_surround_a_question_and_no_more(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "llama")
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=4, dev=4, test=4)["en"]
    _, _, rows, examples = made(start, data, "train", training=True, how=CHAT)
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "upstream")
    for row, example in zip(rows, examples, strict=True):
        source = f"tiny sentence1: {row['text_a']}"
        asked = fast.apply_chat_template(
            [{"role": "user", "content": source}],
            add_generation_prompt=True,
            tokenize=False,
            date_string="26 Jul 2024",
        )
        assert "assistant: 26 Jul 2024" in asked
        # Pieces do not reach over the ends of a template; there they may be others than of the whole text.
        text = fast.decode(example.inputs[0].ids, skip_special_tokens=False)
        # An answer ends with what ends a turn in the template, here another token than that of a text.
        assert text == f"{asked}{row['label']}<|mask|>" and fast.eos_token != "<|mask|>"
    about = json.loads((tmp_path / "upstream" / "tokenizer_config.json").read_text())
    (tmp_path / "upstream" / "tokenizer_config.json").write_text(json.dumps({**about, "chat_template": None}))
    fetched(tmp_path)
    with pytest.raises(UserError, match="no chat template. Leave chat out"):
        made(start, data, "train", training=True, how=CHAT)
    (tmp_path / "upstream" / "tokenizer_config.json").write_text(
        json.dumps({**about, "chat_template": "{{ raise_exception('only pairs') }}"})
    )
    with pytest.raises(UserError, match="chat template cannot be used.*only pairs"):
        fetched(tmp_path)


def sentencepiece(style: str) -> Raw:
    """Return a tokenizer that has texts begin with a space, as Llama 2's and Mistral's do."""
    raw = Raw(token_models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if style == "legacy":
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=style, split=False)
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    )
    # SentencePiece's pieces are of one word.
    raw.train_from_iterator([word for text in [*tiny.SENTENCES, "Answer: user"] * 9 for word in text.split()], trainer)
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", raw.token_to_id("<s>"))]
    )
    return raw


@pytest.mark.parametrize("style", ["legacy", "first", "always"])
@pytest.mark.parametrize("chat", [None, ("<s>[INST] ", " [/INST]\n"), ("user:\n", "\nassistant: ")])
def test_question_and_answer_are_cut_as_one_text_is(tmp_path: Path, style: str, chat: tuple[str, str] | None) -> None:
    raw = sentencepiece(style)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    tokenizer_files.save(raw, names, tmp_path, chat=None if chat is None else (*chat, ""))
    data = tiny.classification(tmp_path / "data", train=8, dev=4, test=4)
    pieces = Tokenizer.from_directory(tmp_path)
    how = PLAIN if chat is None else CHAT
    kind = form(read_meta(data["de"]), pieces, interface="causal", limits=LIMITS, representation=how)
    for path, split in ((data["en"], "train"), (data["de"], "test")):
        rows = read_rows(path, split)
        learnt = kind.encode(rows, training=True)
        for row, example, asked in zip(rows, learnt, kind.encode(rows, training=False), strict=True):
            before, after = chat or ("", "\nAnswer: ")
            for label, answer in zip(kind.meta.labels, asked.align, strict=True):
                text = f"{before}tiny sentence1: {row['text_a']}{after}{label}"
                whole = raw.encode(text, add_special_tokens=chat is None).ids
                assert [*asked.inputs[0].ids, *answer[:-1]] == whole
                assert answer[-1] == raw.token_to_id("</s>")
                if label == row["label"]:
                    assert example.inputs[0].ids == [*whole, answer[-1]] and example.target == answer
            assert asked.cut.pieces == len(raw.encode(f"tiny sentence1: {row['text_a']}", add_special_tokens=False).ids)


def test_a_template_that_leaves_no_room_for_a_question_is_refused(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "qwen3")
    pieces = Tokenizer.from_directory(Source.read(fetched(tmp_path)).base)
    data = tiny.classification(tmp_path / "data", train=4, dev=4, test=4)["en"]
    rows = read_rows(data, "test")
    for length in (8, 12, 24, 30, 32, 34, 40):
        limits = Limits(length, 8, 16)
        kind = form(read_meta(data), pieces, interface="causal", limits=limits, representation=CHAT)
        for training in (True, False):
            try:
                examples = kind.encode(rows, training=training)
            except UserError as error:
                more = int(re.search(r"Set max_length: (\d+)", str(error))[1])  # type: ignore[index]
                assert length < more and "(chat: true, the template)" in str(error)
                kind.limits = replace(limits, max_length=more)
                kind.encode(rows, training=training)
                kind.limits = limits
                continue
            # Every question differs from the others in something that is read.
            prompts = [e.inputs[0].ids[: len(e.inputs[0].ids) - len(e.target)] for e in examples]
            assert all(len(prompt) <= length for prompt in prompts)
            assert all(e.cut.lost < e.cut.pieces for e in examples)
        assert length >= 30 or more


def test_the_day_of_a_template_is_always_the_same_and_it_says_once_what_is_asked(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "smollm3")
    path = tmp_path / "upstream" / "tokenizer_config.json"
    about = json.loads(path.read_text())
    day = "{{ strftime_now('%d %B %Y') }} {{ messages[0]['content'] }} {{ date_string }}:"
    for template, reason in (
        (day, ""),
        ("{{ messages[0]['content'] }} {{ messages[0]['content'] }}", "repeats what a user says"),
        ("hello", "leaves out what a user says"),
    ):
        path.write_text(json.dumps({**about, "chat_template": template}))
        if reason:
            with pytest.raises(UserError, match=reason):
                fetched(tmp_path)
        else:
            assert Tokenizer.from_directory(fetched(tmp_path).parent).chat == ("26 July 2024 ", " 26 Jul 2024:")
            assert Tokenizer.from_directory(fetched(tmp_path).parent).chat_end is not None


def test_plain_text_is_learnt_piece_by_piece(tmp_path: Path) -> None:
    theirs = upstream(tmp_path / "upstream", "qwen3")
    start = fetched(tmp_path)
    path = tmp_path / "text.parquet"
    rows = [{"id": str(n), "split": "train", "text": text} for n, text in enumerate(tiny.SENTENCES[:5])]
    rows += [{**row, "split": "dev"} for row in rows]
    write_rows(path, "text", rows, tiny.about("text", "en", ["token_accuracy"]), labels=[])
    model, kind, _, examples = made(start, path, "train", training=True)
    with torch.no_grad():
        loss = float(kind.loss(model, model.collate(examples, CPU)))
        singles = [torch.tensor([example.inputs[0].ids]) for example in examples]
        own = sum(float(theirs(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1) for ids in singles)
        likeliest = [theirs(input_ids=ids).logits[0, :-1].argmax(-1) for ids in singles]
    assert loss == pytest.approx(own, rel=1e-4)
    counts = [(ids.shape[1] - 1, int((best == ids[0, 1:]).sum())) for ids, best in zip(singles, likeliest, strict=True)]
    assert predict_examples(model, kind.encode(read_rows(path, "dev"), training=False), 512) == counts


def test_what_cannot_be_a_causal_model_is_refused(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "qwen3")
    about = json.loads((tmp_path / "upstream" / "tokenizer_config.json").read_text())
    del about["eos_token"]
    (tmp_path / "upstream" / "tokenizer_config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="names no eos_token"):
        fetched(tmp_path)
    for kind in ("gemma2", "mt5", "gpt2"):
        with pytest.raises(ValueError, match="cannot be used with interface 'causal'"):
            architectures.class_name("causal", {"model_type": kind})
    models = tmp_path / "catalog" / "models"
    models.mkdir(parents=True)
    base = "interface: {}\ndescription: A model of ours.\nlicence: MIT\nparameters: 9\nhidden_size: 3\nlayers: 1\n"
    base += "source: {{type: files, path: x}}\n"
    for interface, more, reason in (
        ("encoder", "chat: true\n", "only models of interface causal"),
        ("causal", "retrieval: {pooling: first}\n", "sees nothing else"),
    ):
        (models / "mine.yaml").write_text(base.format(interface) + more)
        with pytest.raises(UserError, match=reason):
            read([tmp_path / "catalog"])
