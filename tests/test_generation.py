"""Writing text: against transformers' `generate` on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from test_unpadded import CPU, PIECES, examples, network
from transformers.modeling_outputs import BaseModelOutput

from stiltsweep.models import generation

MOST = 12


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5"])
@pytest.mark.parametrize("forbidden", [[], [2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("push", [0.0, 2.0, 4.0, 50.0])
def test_pieces_are_those_of_generate(kind: str, forbidden: list[int], push: float) -> None:
    """Texts end at different steps: the end is made likelier until all end at once."""
    model = network(kind).eval()
    backbone = model.backbone
    assert generation.can(backbone)
    with torch.no_grad():
        # Towards the end, by what the decoder's states have in common.
        backbone.lm_head.weight.mul_(3.0)
        batch = model.collate(examples(20), CPU)
        encoded = model.encode(batch)
        states = model.backbone.get_decoder()(
            input_ids=torch.zeros(20, 1, dtype=torch.long),
            encoder_hidden_states=encoded,
            encoder_attention_mask=batch.mask_BL,
        ).last_hidden_state
        mean = states.mean((0, 1))
        backbone.lm_head.weight[1] += push * mean / mean.norm() ** 2
        shown: list[torch.Tensor] = []
        found = generation.greedy(
            backbone,
            encoded,
            batch.mask_BL,
            start=0,
            pad=0,
            eos=1,
            forbidden=forbidden,
            most=MOST,
            look=shown.append,
        )
        expected = backbone.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=batch.mask_BL,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
            max_new_tokens=MOST,
            do_sample=False,
            suppress_tokens=forbidden or None,
        )[:, 1:]
    width = expected.shape[1]
    assert torch.equal(found.ids_BT[:, :width], expected)
    assert not found.ids_BT[:, width:].any()
    # The first likeliest piece, had nothing been forbidden, is known for texts that are written without that.
    with torch.no_grad():
        free = generation.greedy(
            backbone, encoded, batch.mask_BL, start=0, pad=0, eos=1, forbidden=[], most=MOST
        ).ids_BT
    would = torch.isin(free, torch.tensor(forbidden, dtype=torch.long)).any(1)
    assert found.tried_B.tolist() == would.tolist()
    assert shown and all(len(one) <= 20 for one in shown)
    written = int((found.ids_BT != 0).sum())
    assert sum(map(len, shown)) < 20 * MOST or written > 0.7 * 20 * MOST, "ended texts are dropped"


def test_without_an_end_all_places_are_written() -> None:
    model = network("mt5").eval()
    batch = model.collate(examples(3), CPU)
    with torch.no_grad():
        encoded = model.encode(batch)
        found = generation.greedy(
            model.backbone, encoded, batch.mask_BL, start=0, pad=0, eos=None, forbidden=[], most=5
        )
    assert found.ids_BT.shape == (3, 5)


def test_tied_output_layers_and_other_classes_are_left_to_transformers() -> None:
    small: dict[str, Any] = {
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
        "vocab_size": PIECES,
    }
    tied = transformers.T5ForConditionalGeneration(transformers.T5Config(**{**small, "tie_word_embeddings": True}))
    assert not generation.can(tied)
    assert not generation.can(transformers.MT5EncoderModel(transformers.MT5Config(**small)))
