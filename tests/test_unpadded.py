"""Reading without padding gives what transformers' own classes give on padded texts: states, losses and gradients."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from stiltsweep import prediction
from stiltsweep.kinds import Form
from stiltsweep.kinds.text2text import TextToText
from stiltsweep.models import unpadded
from stiltsweep.models.batches import Batch, Dense, Example, Input, Places, collate
from stiltsweep.models.task_model import TaskModel

CPU = torch.device("cpu")
PIECES = 60
SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SMALL_T5: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
}
DISTANCES: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 4,
    "max_relative_positions": -1,
    "max_position_embeddings": 40,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertModel", {**SMALL, "pad_token_id": 0, "type_vocab_size": 2}),
    "roberta": ("RobertaModel", {**SMALL, "pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 80}),
    "xlm-roberta": ("XLMRobertaModel", {**SMALL, "pad_token_id": 1, "type_vocab_size": 1}),
    "rembert": ("RemBertModel", {**SMALL, "pad_token_id": 0, "type_vocab_size": 2, "input_embedding_size": 8}),
    "mpnet": ("MPNetModel", {**SMALL, "pad_token_id": 1}),
    # As DeBERTa v3 has it: distances in buckets, one projection for contents and distances; and as v2 can have it.
    "deberta-v2": ("DebertaV2Model", {**SMALL, **DISTANCES, "share_att_key": True, "type_vocab_size": 0}),
    "deberta-v2 apart": ("DebertaV2Model", {**SMALL, **DISTANCES, "share_att_key": False, "type_vocab_size": 2}),
    "deberta-v2 contents": ("DebertaV2Model", {**SMALL, "type_vocab_size": 0}),
    "t5": ("T5ForConditionalGeneration", {**SMALL_T5, "tie_word_embeddings": False}),
    "mt5": ("MT5ForConditionalGeneration", {**SMALL_T5, "tie_word_embeddings": False}),
    "umt5": ("UMT5ForConditionalGeneration", {**SMALL_T5, "tie_word_embeddings": False}),
}
ENCODERS = {"t5 encoder": "T5EncoderModel", "mt5 encoder": "MT5EncoderModel"}


def network(kind: str, *, name: str | None = None, dropout: float = 0.0) -> TaskModel:
    """Return a model of random weights, far from symmetric, without a task."""
    found, options = CONFIGS[kind]
    torch.manual_seed(1)
    rates = {"dropout_rate": dropout} if "d_model" in options else {}
    rates = rates or {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = transformers.AutoConfig.for_model(
        kind.split()[0], vocab_size=PIECES, decoder_start_token_id=0, **options, **rates
    )
    backbone = getattr(transformers, name or found)(config)
    if hasattr(backbone, "lm_head"):
        backbone.lm_head = torch.nn.Linear(config.hidden_size, PIECES, bias=False)
        backbone.config.tie_word_embeddings = False
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    about = {"token_types": options.get("type_vocab_size", 0) > 1, "special": {"pad": 0, "eos": 1}}
    source: Any = SimpleNamespace(about=about)
    return TaskModel(backbone, source, Dense(None, options.get("pad_token_id", 0)))


def examples(count: int = 7, *, longest: int = 23, targets: bool = False) -> list[Example]:
    """Return texts of many lengths, one of a single piece among them, some of two segments."""
    rng = random.Random(3)
    lengths = [1, longest, *(rng.randint(2, longest) for _ in range(count - 2))]
    found = []
    for number, length in enumerate(lengths):
        ids = [rng.randrange(2, PIECES) for _ in range(length)]
        target = [rng.randrange(2, PIECES) for _ in range(rng.randint(1, 9))] if targets else []
        found.append(Example(number, [Input(ids, length // 2 if number % 2 else -1)], target=target))
    return found


def gradients(model: TaskModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradient of every parameter that has one."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, apart: float = 1e-6) -> None:
    """Compare gradients; some are nothing but rounding (those of the keys' biases), so by the largest of all."""
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=apart * largest, msg=name)


def reads_alike(model: TaskModel, kind: Form, examples: list[Example], layers: Sequence[int], *, rounded: bool) -> None:
    """Compare the loss, its gradients and the states of some layers with and without padding; leave it without."""
    found = []
    for without in (False, True):
        assert not without or unpadded.attach(model)
        batch = collate(examples, model.dense, CPU, token_types=model.token_types, places=without, rounded=rounded)
        loss = kind.loss(model, batch)
        gathered = gradients(model, loss)
        with torch.no_grad():
            states = [model.hidden(batch, layer) for layer in layers]
        found.append((loss.item(), gathered, states))
    (padded, expected, states), (other, others, more) = found
    assert other == pytest.approx(padded, rel=1e-5)
    close(others, expected, apart=1e-5)
    for one, two in zip(states, more, strict=True):
        for i, example in enumerate(examples):
            torch.testing.assert_close(two[i, : example.length], one[i, : example.length], atol=1e-4, rtol=1e-4)


def hidden(model: TaskModel, batch: Any, layer: int = -1) -> torch.Tensor:
    """Return the states (B, L, H) with nothing where there is no token."""
    found: torch.Tensor = model.hidden(batch, layer) * batch.mask_BL[..., None]
    return found


@pytest.mark.parametrize("kind", [*CONFIGS, *ENCODERS])
@pytest.mark.parametrize("sparing", [False, True])
def test_states_and_gradients_of_an_encoder(kind: str, sparing: bool) -> None:
    model = network(kind.removesuffix(" encoder"), name=ENCODERS.get(kind))
    weights = torch.randn(32, generator=torch.Generator().manual_seed(5))

    def result() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        states = hidden(model, model.collate(examples(), CPU))
        return states.detach(), gradients(model, ((states @ weights).square() * (states != 0).any(-1)).sum())

    expected, expected_gradients = result()
    assert unpadded.attach(model, sparing=sparing)
    found, found_gradients = result()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    close(found_gradients, expected_gradients)


@pytest.mark.parametrize("kind", CONFIGS)
def test_states_of_every_layer(kind: str) -> None:
    model = network(kind).eval()
    with torch.no_grad():
        plain = [hidden(model, model.collate(examples(), CPU), layer) for layer in range(-4, 4)]
        assert unpadded.attach(model)
        for layer, expected in zip(range(-4, 4), plain, strict=True):
            found = hidden(model, model.collate(examples(), CPU), layer)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5"])
def test_losses_of_what_is_written(kind: str) -> None:
    model = network(kind)
    form = TextToText.__new__(TextToText)
    results = []
    for attached in (False, True):
        assert not attached or unpadded.attach(model)
        loss = form.loss(model, model.collate(examples(targets=True), CPU))
        results.append((loss.detach(), gradients(model, loss)))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-4)
    close(results[1][1], results[0][1])


def test_texts_do_not_see_each_other() -> None:
    model = network("mt5").eval()
    assert unpadded.attach(model)
    some = examples(5)
    with torch.no_grad():
        together = hidden(model, model.collate(some, CPU))
        for number, one in enumerate(some):
            alone = hidden(model, model.collate([one], CPU))[0]
            torch.testing.assert_close(together[number, : len(alone)], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["xlm-roberta", "mt5"])
def test_compiled_is_the_same(kind: str) -> None:
    model = network(kind)
    losses = []
    for compiled in (False, True):
        assert unpadded.attach(model, compiled=compiled)
        losses.append(hidden(model, model.collate(examples(), CPU)).square().sum())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["xlm-roberta", "mpnet", "deberta-v2", "mt5"])
def test_dropout_is_drawn_everywhere_it_is(kind: str) -> None:
    """With dropout on, states vary as much around as near a mean as those of padded texts."""
    model = network(kind, dropout=0.1).train()
    spreads, means = [], []
    for without in (False, True):
        assert not without or unpadded.attach(model)
        batch = model.collate(examples(), CPU)
        with torch.no_grad():
            drawn = torch.stack([hidden(model, batch) for _ in range(200)])
        assert not torch.equal(drawn[0], drawn[1])
        there = batch.mask_BL.bool()
        spreads.append(drawn.std(0)[there])
        means.append(drawn.mean(0)[there])
    # Of 200 draws a standard deviation is known to 5%, the mean of so many of them to less than 1%.
    assert float(spreads[1].mean()) == pytest.approx(float(spreads[0].mean()), rel=0.02)
    assert float((means[1] - means[0]).abs().mean()) < 0.12 * float(spreads[0].mean())


def test_classes_that_cannot_are_left_alone() -> None:
    # The largest sizes of DeBERTa v2 read neighbours.
    neighbours: dict[str, Any] = {**SMALL, "conv_kernel_size": 3}
    config = transformers.DebertaV2Config(vocab_size=PIECES, **neighbours)
    source: Any = SimpleNamespace(about={"special": {"pad": 0, "eos": None}})
    model = TaskModel(transformers.DebertaV2Model(config), source, Dense(None, 0))
    assert not unpadded.attach(model)
    assert model.unpadded is None


def test_places() -> None:
    places = Places.of([2, 1, 3], 4, CPU)
    tokens = torch.arange(6)
    spread = places.spread(tokens)
    assert spread[places.mask_BL].tolist() == tokens.tolist()
    assert places.gather(spread).tolist() == tokens.tolist()
    assert places.starts.tolist() == [0, 2, 3, 6]
    assert places.positions_N.tolist() == [0, 1, 0, 0, 1, 2]
    assert np.array_equal(places.mask_BL.sum(1), [2, 1, 3])


def test_collating_is_as_it_was(tmp_path: Path) -> None:
    """Against a plain loop over texts."""
    model = network("bert")
    some = examples()
    batch = model.collate(some, CPU)
    assert batch.types_BL is not None
    for row, one in enumerate(one for example in some for one in example.inputs):
        length = len(one.ids)
        assert batch.ids_BL[row].tolist() == one.ids + [0] * (batch.ids_BL.shape[1] - length)
        assert batch.mask_BL[row].tolist() == [1] * length + [0] * (batch.ids_BL.shape[1] - length)
        second = one.second if one.second >= 0 else length
        assert batch.types_BL[row, :length].tolist() == [0] * second + [1] * (length - second)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("count", [3, 7, 16])
def test_rounded_up_sizes_change_nothing(kind: str, count: int) -> None:
    """What fills up reaches neither states nor gradients; passes see what is handed to them, as a graph would."""
    model = network(kind).train()
    some = examples(count, targets=True)
    form = TextToText.__new__(TextToText)
    keys: list[Any] = []

    def run() -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        batch = model.collate(some, CPU)
        states = hidden(model, batch)[:, :23]
        loss = states.square().sum()
        if "5" in kind:
            loss = loss + form.loss(model, batch)
        return states.detach(), loss.detach(), gradients(model, loss)

    expected = run()
    assert unpadded.attach(model)
    assert model.unpadded is not None

    def captured(key: Any, function: Any, tensors: Any) -> torch.Tensor:
        keys.append(key)
        made: torch.Tensor = function([tensor.clone() for tensor in tensors])
        return made

    model.unpadded.captured = captured  # type: ignore[assignment]
    found = run()
    assert keys
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-4)
    close(found[2], expected[2])


def test_rounding_up_leaves_few_sizes() -> None:
    rng = random.Random(0)
    for mean, most_wasted in ((20, 0.4), (200, 0.08)):
        seen, wasted, real = set(), 0, 0
        for _ in range(300):
            lengths = [max(3, min(400, int(rng.lognormvariate(0, 0.4) * mean))) for _ in range(32)]
            places = Places.of(lengths, 448, CPU, rounded=True)
            seen.add((len(places.positions_N), places.longest))
            wasted, real = wasted + len(places.positions_N) - sum(lengths), real + sum(lengths)
            assert len(places.starts) == 34 and places.starts[-1] == len(places.positions_N)
            assert places.longest >= max(lengths) and places.longest >= len(places.positions_N) - sum(lengths)
        assert len(seen) < 15
        assert wasted < most_wasted * real


def test_memory_that_runs_out_ends_in_smaller_batches() -> None:
    """Texts of very different lengths: half of a batch's padded places are more than all of its tokens."""
    model = network("xlm-roberta").eval()
    assert unpadded.attach(model)
    some = [Example(number, [Input([2] * length)]) for number, length in enumerate([1] * 40 + [60])]
    tried: list[int] = []

    def predict(of: TaskModel, batch: Batch) -> list[int]:
        tried.append(len(batch.examples))
        if len(tried) > 20:
            raise AssertionError("the same batch again and again")
        if len(batch.examples) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [example.row for example in batch.examples]

    model.form = SimpleNamespace(predict=predict)
    assert prediction.run(model, some, 1000) == list(range(41))
    assert tried[0] == 41
