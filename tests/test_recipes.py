"""Recipes: values against the published scripts' own, T5's optimizer and packing, schedules and heads of transformers."""

from __future__ import annotations

import copy
import itertools
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers.optimization import Adafactor

import tiny
from stiltsweep import catalog, config
from stiltsweep.errors import UserError
from stiltsweep.files import read_json
from stiltsweep.jobs import Jobs
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.kinds.base import cut_pair, windows
from stiltsweep.models.batches import Batch, Dense, Example, Input, collate
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tensors import read_tensors
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.planning import remarks
from stiltsweep.records import Meta
from stiltsweep.resources import Needs
from stiltsweep.settings import TrainingSettings, resolve
from stiltsweep.sweep import Sweep
from stiltsweep.training import loop, mixture
from stiltsweep.training.plan import derived_seed, learning_rate_factor, packed_batches, total_updates

ROOT = Path(__file__).parents[1]
REPRESENTATION = Representation("first", -1, "mean", "")
EVERYTHING = catalog.read()
published = runpy.run_path(str(ROOT / "benchmarks/upstream/recipes.py"))


def jobs(**changes: Any) -> Jobs:
    about = {"models": ["xlm-roberta-large"], "intermediates": ["none"], "targets": {"xnli": ["de"]}, **changes}
    return Jobs(Sweep(*config.resolve(about)))


# Values


@pytest.mark.parametrize(
    "row", published["read"](), ids=lambda row: f"{row.recipe}-{row.model}-{row.task}-{row.setting}"
)
def test_recipes_have_the_values_of_the_published_scripts(row: Any) -> None:
    ours = published["ours"](row)
    assert ours == (row.value if isinstance(ours, str) else float(row.value)), row.where


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert "\n".join(published["table"]()) in page


def test_a_recipe_lies_over_tasks_and_below_the_configuration() -> None:
    large, xnli, recipe = EVERYTHING.models["xlm-roberta-large"], EVERYTHING.task("xnli"), EVERYTHING.recipes["xtreme"]
    assert resolve("target", large, xnli, {}, recipe).learning_rate == 3e-5
    assert resolve("target", large, xnli, {}).learning_rate == 2e-5
    assert resolve("target", large, xnli, {"learning_rate": 1e-4}, recipe).learning_rate == 1e-4
    # Adafactor's rate goes with Adafactor, whatever a recipe made for AdamW says of the task.
    encoder = resolve("target", EVERYTHING.models["mt5-base-encoder"], xnli, {}, recipe)
    assert (encoder.optimizer, encoder.learning_rate) == ("adafactor", 1e-3)
    # Batches in examples and in tokens exclude each other; the later word counts.
    mt5 = EVERYTHING.models["mt5-base"]
    assert resolve("target", mt5, xnli, {}, EVERYTHING.recipes["mt5"]).batch_tokens == 1 << 20
    assert resolve("target", mt5, xnli, {"batch_size": 64}, EVERYTHING.recipes["mt5"]).batch_tokens is None


def test_what_decides_is_in_the_settings_of_jobs() -> None:
    made = jobs(recipe="xtreme", targets={"tatoeba": ["de"], "bucc2018": ["de"], "xquad": ["de"]}, models=["mbert"])
    settings = {target: made.prediction("mbert", target) for target in made.sweep.languages}
    assert '"layer":8,"pooling":"mean"' in settings["tatoeba"] and '"layer":8,"pooling":"first"' in settings["bucc2018"]
    assert '"window_step":128' in settings["xquad"] and '"max_question_length":64' in settings["xquad"]
    assert '"head":"roberta"' in made.target_arguments("mbert", "none", "squad_heldout").replace(" ", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "xtrem"}, "'xtrem' is unknown; known: ours, jiant, mt5, mt5-lab, xtreme. Did you mean 'xtreme'"),
        ({"recipe": "xtreme", "models": ["mbert", "mt5-base"]}, "for example: {encoder: xtreme, text2text: ours}"),
        ({"recipe": {"encoder": "mt5"}}, "is for models of interface text2text, not encoder"),
        ({"recipe": {"decoder": "mt5"}}, "decoder"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("{", r"\{")):
        jobs(**change)


def test_batches_in_tokens_need_a_number_of_updates() -> None:
    mt5, task = EVERYTHING.models["mt5-base"], EVERYTHING.task("udpos")
    with pytest.raises(UserError, match="without max_updates"):
        resolve("target", mt5, task, {"batch_tokens": 4096})
    with pytest.raises(UserError, match="less than one row"):
        resolve("target", mt5, task, {"batch_tokens": 512, "max_updates": 3})


def test_the_plan_says_that_a_warm_up_is_longer_than_its_run() -> None:
    said = remarks.of(Needs(jobs(recipe="xtreme", targets={"tydiqa": ["fi"], "intent": ["de"]})))
    assert (
        said[0]
        == "xlm-roberta-large: recipe xtreme. It says nothing of intent: their own settings, under its general ones."
    )
    # 3,300 English questions, batches of 32, 3 epochs: 312 updates.
    assert "warm-up of 500 updates is longer than the run of 312" in said[1] and len(said) == 2
    assert remarks.of(Needs(jobs(targets={"xnli": ["de"]}))) == []


# Schedule


@pytest.mark.parametrize(("warmup", "total"), [(3, 10), (0, 7), (500, 312)])
def test_the_schedule_is_that_of_transformers(warmup: int, total: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup, total)
    settings = TrainingSettings(warmup=float(warmup), warmup_from_zero=True)
    for update in range(total):
        assert learning_rate_factor(update, total, settings) == pytest.approx(schedule.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        schedule.step()


# Texts


def test_window_steps_are_those_of_squads_scripts() -> None:
    """800 pieces and a question of 10 at 384: five windows 128 pieces apart, where an overlap of 128 would make three."""
    assert [start for start, _ in windows(800, 370, 0, 128)] == [0, 128, 256, 384, 512]
    assert len(windows(800, 370, 128)) == 3
    covered = set(itertools.chain.from_iterable(range(*one) for one in windows(800, 50, 0, 128)))
    assert covered == set(range(800))


@pytest.mark.parametrize("room", range(2, 22))
def test_pairs_are_cut_piece_by_piece(room: int) -> None:
    for first, second in itertools.product(range(12), repeat=2):
        a, b = list(range(first)), list(range(second))
        while len(a) + len(b) > room:
            (a if len(a) > len(b) else b).pop()
        assert [list(one) for one in cut_pair(range(first), range(second), room)] == [a, b]


def test_questions_are_cut_and_white_space_is_no_answer(tmp_path: Path) -> None:
    source = Source.read(tiny.encoder(tmp_path))
    tokenizer = Tokenizer.from_directory(source.base)
    about = Meta("t", "en", "span_qa", [], ["squad_f1"], {}, "0", "none")
    limits = Limits(64, 8, 8, window_step=20, max_question_length=3)
    kind = form(about, tokenizer, interface="encoder", limits=limits, representation=REPRESENTATION)
    asked = "what time is it in the garage"
    row = {"id": "1", "question": asked, "context": "   the lamp", "answers": []}
    (example,) = kind.encode([row], training=False)
    question = tokenizer.pieces([asked])[0].ids
    assert len(question) > 3 and example.inputs[0].ids[1:4] == question[:3] and example.inputs[0].ids[4] != question[3]

    # A head that wants the first context piece and nothing else, whatever it is.
    blank = Example(0, example.inputs, align=[(example.align[0][0], [(0, 0), *example.align[0][1][1:]])])
    first = blank.align[0][0]

    class Wants(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(*hidden.shape[:2], 2)
            logits[:, first] = 9.0
            return logits

    model = SimpleNamespace(head=Wants(), hidden=lambda batch: torch.zeros(*batch.ids_BL.shape, 4))
    batch = collate([blank], Dense(None, 1), torch.device("cpu"), token_types=False)
    kind.options["unanswerable"] = False
    assert kind.decode([row], [blank], kind.predict(model, batch)) != [""]
    nothing = {**row, "context": "  "}
    examples = kind.encode([nothing], training=False)
    batch = collate(examples, Dense(None, 1), torch.device("cpu"), token_types=False)
    assert kind.decode([nothing], examples, kind.predict(model, batch)) == [""]


# Packing and T5's optimizer


def test_packed_updates_fill_their_rows_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [(int(a), int(b)) for a, b in torch.randint(1, 60, (50, 2), generator=generator)]
    settings = TrainingSettings(batch_tokens=4 * 100, max_length=100, max_target_length=80, max_updates=1)
    batches = list(itertools.islice(packed_batches(sizes, settings, 7), 60))
    stream = list(itertools.chain.from_iterable(batches))
    for epoch in range(len(stream) // 50):
        assert sorted(stream[epoch * 50 : (epoch + 1) * 50]) == list(range(50))
    for batch, after in itertools.pairwise(batches):
        rows = [[0, 0]]
        for example in [*batch, after[0]]:
            if rows[-1][0] + sizes[example][0] > 100 or rows[-1][1] + sizes[example][1] > 80:
                rows.append([0, 0])
            rows[-1][0] += sizes[example][0]
            rows[-1][1] += sizes[example][1]
        assert len(rows) == 5  # four full ones, and what begins the next update
    assert batches == list(itertools.islice(packed_batches(sizes, settings, 7), 60))
    assert total_updates(50, settings) == 1
    # XNLI: about 1,024 rows of seventeen pairs where batch_size took as many pairs.
    xnli = resolve("target", EVERYTHING.models["mt5-base"], EVERYTHING.task("xnli"), {}, EVERYTHING.recipes["mt5"])
    assert len(next(packed_batches([(60, 2)] * 400_000, xnli, 0))) == 17 * 1024


def test_training_by_mt5s_recipe_is_transformers_adafactor_with_t5s_flags(tmp_path: Path) -> None:
    start = tiny.text2text(tmp_path / "model")
    data = tiny.classification(tmp_path / "data")["en"]
    mt5 = EVERYTHING.models["mt5-base"]
    small = {
        "batch_tokens": 256,
        "max_updates": 4,
        "max_length": 32,
        "max_target_length": 8,
        "evaluations": 1,
        "dropout": 0.0,
    }
    recipe = EVERYTHING.recipes["mt5"]
    settings = resolve("target", mt5, EVERYTHING.task("xnli"), {**small, "micro_batch_tokens": 100_000}, recipe)
    run = loop.Run(
        start=start, data=[data], output=tmp_path / "out" / "checkpoint.json", settings=settings,
        representation=REPRESENTATION, seed=3, prune=False, chance=0.0, identity={},
    )  # fmt: skip
    loop.train(run)
    trained = read_tensors(run.output.parent / "model.safetensors")

    source = Source.read(start)
    (choice,) = mixture.choices([data], None, chance=0.0)
    made = form(
        choice.meta,
        Tokenizer.from_directory(source.base),
        interface="text2text",
        limits=Limits(32, 32, 8),
        representation=REPRESENTATION,
    )
    task = mixture.load(choice, made, shuffled=None)
    model = build(source, made, kept=None, seed=0, dropout=0.0).train()
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    parameters = list(model.backbone.parameters())
    optimizer = Adafactor(
        parameters, lr=1e-3, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8, beta1=None, weight_decay=0.0,
        scale_parameter=True, relative_step=False, warmup_init=False,
    )  # fmt: skip
    sizes = [(len(e.inputs[0].ids), len(e.target)) for e in task.examples]
    norms = []
    for batch in itertools.islice(packed_batches(sizes, settings, derived_seed(3, "order", *task.seed_parts)), 4):
        examples = sorted((task.examples[i] for i in batch), key=lambda e: (e.length, e.row))
        loss = made.loss(model, collate(examples, model.dense, torch.device("cpu"), token_types=False))
        (loss / (256 // 32 * 8)).backward()
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in model.backbone.named_parameters():
        if name in trained:
            torch.testing.assert_close(parameter, trained[name], rtol=1e-5, atol=1e-7, msg=name)
    assert any(not torch.equal(p, before[name]) for name, p in model.backbone.named_parameters())
    said = [
        entry["gradient_norm"]
        for entry in map(json.loads, (run.output.parent / "history.jsonl").read_text().splitlines())
        if "loss" in entry
    ]
    assert said == pytest.approx(norms)


def test_without_a_limit_the_gradient_stays(tmp_path: Path) -> None:
    gradient = torch.nn.Parameter(torch.zeros(3))
    gradient.grad = torch.tensor([3.0, 4.0, 12.0])
    assert float(torch.nn.utils.clip_grad_norm_([gradient], float("inf"))) == 13.0
    assert gradient.grad.tolist() == [3.0, 4.0, 12.0]


# Heads

WIDTH = 16


def network(kind: Any) -> tuple[TaskModel, Any]:
    torch.manual_seed(0)
    class_: Any = transformers.XLMRobertaConfig  # its base class takes num_labels
    about = class_(
        vocab_size=50, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, pad_token_id=1, num_labels=kind.outputs,
    )  # fmt: skip
    source: Any = SimpleNamespace(about={"special": {"pad": 1, "eos": 2}, "token_types": False})
    model = TaskModel(transformers.XLMRobertaModel(about, add_pooling_layer=False), source, Dense(None, 1))
    model.add_task(kind, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model.eval(), about


def a_form(kind: str, labels: tuple[str, ...] = ()) -> Any:
    tokenizer: Any = SimpleNamespace(special_layout=lambda pair: ([0], [2, 2], [2]) if pair else ([0], [2]))
    made = form(
        Meta("t", "en", kind, list(labels), ["accuracy"], {}, "0", "none"),
        tokenizer,
        interface="encoder",
        limits=Limits(32, 4, 8),
        representation=REPRESENTATION,
    )
    made.options["head"] = "roberta"
    return made


IDS = [[0, 5, 9, 4, 2], [0, 7, 2], [0, 11, 12, 13, 14, 15, 2], [0, 8, 8, 3, 2]]


def ours(kind: Any, model: TaskModel, examples: list[Example]) -> tuple[float, Batch]:
    batch = collate(examples, model.dense, torch.device("cpu"), token_types=False)
    with torch.no_grad():
        return float(kind.loss(model, batch)), batch


def copied(model: TaskModel, theirs: Any, names: dict[str, str]) -> Any:
    theirs.base_model.load_state_dict(copy.deepcopy(model.backbone.state_dict()), strict=False)
    head = model.head.state_dict()  # type: ignore[union-attr]
    theirs.load_state_dict({there: head[here] for here, there in names.items()}, strict=False)
    return theirs.eval()


def test_classification_is_roberta_for_sequence_classification() -> None:
    kind = a_form("classification", ("a", "b", "c"))
    model, about = network(kind)
    labels = [0, 2, 1, 1]
    loss, batch = ours(kind, model, [Example(i, [Input(ids)], labels=y) for i, (ids, y) in enumerate(zip(IDS, labels))])
    names = {
        f"{n}.{p}": f"classifier.{to}.{p}" for n, to in ((1, "dense"), (4, "out_proj")) for p in ("weight", "bias")
    }
    theirs = copied(model, transformers.AutoModelForSequenceClassification.from_config(about), names)
    with torch.no_grad():
        expected = theirs(batch.ids_BL, batch.mask_BL, labels=torch.tensor(labels)).loss
    assert loss == pytest.approx(4 * float(expected), rel=1e-6)


def test_multiple_choice_is_roberta_for_multiple_choice() -> None:
    kind = a_form("multiple_choice")
    model, about = network(kind)
    examples = [
        Example(0, [Input(IDS[0]), Input(IDS[1])], labels=1),
        Example(1, [Input(IDS[2]), Input(IDS[3])], labels=0),
    ]
    loss, batch = ours(kind, model, examples)
    names = {f"1.{p}": f"roberta.pooler.dense.{p}" for p in ("weight", "bias")}
    names |= {f"4.{p}": f"classifier.{p}" for p in ("weight", "bias")}
    theirs = copied(model, transformers.AutoModelForMultipleChoice.from_config(about), names)
    with torch.no_grad():
        expected = theirs(
            batch.ids_BL.view(2, 2, -1), attention_mask=batch.mask_BL.view(2, 2, -1), labels=torch.tensor([1, 0])
        ).loss
    assert loss == pytest.approx(2 * float(expected), rel=1e-6)


def test_tagging_is_roberta_for_token_classification() -> None:
    kind = a_form("tagging", ("O", "B-X", "I-X"))
    model, about = network(kind)
    labels = [[(1, 0), (2, 1)], [(1, 2)], [(1, 1), (3, 2), (5, 0)], []]
    loss, batch = ours(
        kind, model, [Example(i, [Input(ids)], labels=[y]) for i, (ids, y) in enumerate(zip(IDS, labels))]
    )
    theirs = copied(
        model,
        transformers.AutoModelForTokenClassification.from_config(about),
        {f"1.{p}": f"classifier.{p}" for p in ("weight", "bias")},
    )
    wanted = torch.full(batch.ids_BL.shape, -100)
    for i, pairs in enumerate(labels):
        for position, label in pairs:
            wanted[i, position] = label
    with torch.no_grad():
        expected = theirs(batch.ids_BL, batch.mask_BL, labels=wanted).loss
    assert loss == pytest.approx(6 * float(expected), rel=1e-6)


def test_question_answering_is_roberta_for_question_answering() -> None:
    """Texts of one length: published scripts' softmax ranges over the padding too, ours does not."""
    kind = a_form("span_qa")
    model, about = network(kind)
    ids = [[0, 5, 9, 2, 2, 4, 6, 2], [0, 7, 3, 2, 2, 8, 8, 2]]
    spans = [(5, 6), (0, 0)]
    examples = [
        Example(i, [Input(one, 5)], labels=[span], align=[(5, [(0, 1), (1, 2)])])
        for i, (one, span) in enumerate(zip(ids, spans))
    ]
    loss, batch = ours(kind, model, examples)
    names = {p: f"qa_outputs.{p}" for p in ("weight", "bias")}
    theirs = copied(model, transformers.AutoModelForQuestionAnswering.from_config(about), names)
    starts, ends = torch.tensor(spans).T
    with torch.no_grad():
        expected = theirs(batch.ids_BL, batch.mask_BL, start_positions=starts, end_positions=ends).loss
    assert loss == pytest.approx(2 * float(expected), rel=1e-6)
    kind.options.clear()
    assert ours(kind, model, examples)[0] < loss  # the question out of the softmax


def test_a_published_head_is_saved_and_predicts(tmp_path: Path) -> None:
    start = tiny.encoder(tmp_path / "model")
    data = tiny.classification(tmp_path / "data")["en"]
    settings = TrainingSettings(head="roberta", epochs=1, batch_size=8, max_length=32, evaluations=1, freeze_layers=1)
    run = loop.Run(
        start=start, data=[data], output=tmp_path / "out" / "checkpoint.json", settings=settings,
        representation=REPRESENTATION, seed=0, prune=True, chance=0.0, identity={},
    )  # fmt: skip
    loop.train(run)
    assert read_json(run.output)["form_options"] == {"head": "roberta"}
    head = read_tensors(run.output.parent / "head.safetensors")
    assert sorted(head) == ["1.bias", "1.weight", "4.bias", "4.weight"]
