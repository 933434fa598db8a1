"""Which classes of transformers serve as a model here, and what of them differs from class to class.

An encoder is a class that transformers' own AutoModel gives for a model type and that reads ids and an attention mask,
sees a text on both sides, is indifferent to padding, and returns the states of its embeddings and of every layer. A
causal language model is one whose layers take a mask of their own and positions by number, and whose output layer's
scores are used as they are. `CLASSES` holds the types that tests run; encoders of the types of `_UNTRIED` are tried
when they are fetched (`check`). No code of a model's directory is ever used.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import nearest

if TYPE_CHECKING:  # a plan asks for names alone
    from torch import Tensor, nn

CLASSES = {
    ("encoder", "albert"): "AlbertModel",
    ("encoder", "bert"): "BertModel",
    ("encoder", "camembert"): "CamembertModel",
    ("encoder", "deberta"): "DebertaModel",
    ("encoder", "deberta-v2"): "DebertaV2Model",
    ("encoder", "distilbert"): "DistilBertModel",
    ("encoder", "electra"): "ElectraModel",
    ("encoder", "ernie"): "ErnieModel",
    ("encoder", "eurobert"): "EuroBertModel",
    ("encoder", "gte"): "GteModel",
    ("encoder", "modernbert"): "ModernBertModel",
    ("encoder", "mpnet"): "MPNetModel",
    ("encoder", "mt5"): "MT5EncoderModel",
    ("encoder", "nomic_bert"): "NomicBertModel",
    ("encoder", "rembert"): "RemBertModel",
    ("encoder", "roberta"): "RobertaModel",
    ("encoder", "t5"): "T5EncoderModel",
    ("encoder", "umt5"): "UMT5EncoderModel",
    ("encoder", "xlm-roberta"): "XLMRobertaModel",
    ("encoder", "xlm-roberta-xl"): "XLMRobertaXLModel",
    ("encoder", "xmod"): "XmodModel",
    ("causal", "gemma3_text"): "Gemma3ForCausalLM",
    ("causal", "llama"): "LlamaForCausalLM",
    ("causal", "mistral"): "MistralForCausalLM",
    ("causal", "olmo2"): "Olmo2ForCausalLM",
    ("causal", "qwen2"): "Qwen2ForCausalLM",
    ("causal", "qwen3"): "Qwen3ForCausalLM",
    ("causal", "smollm3"): "SmolLM3ForCausalLM",
    ("text2text", "mt5"): "MT5ForConditionalGeneration",
    ("text2text", "t5"): "T5ForConditionalGeneration",
    ("text2text", "umt5"): "UMT5ForConditionalGeneration",
}
"""(interface, model type) -> class of transformers."""
_UNTRIED = {
    "data2vec-text": "Data2VecTextModel",
    "ibert": "IBertModel",
    "luke": "LukeModel",
    "megatron-bert": "MegatronBertModel",
    "mobilebert": "MobileBertModel",
    "roberta-prelayernorm": "RobertaPreLayerNormModel",
    "roc_bert": "RoCBertModel",
    "roformer": "RoFormerModel",
    "squeezebert": "SqueezeBertModel",
    "ultrabert": "UltrabertModel",
}
"""Model type -> class, of the other types of text that transformers pretrains by masked words.

Its own tables would be asked, but importing them takes seconds of every plan.
"""
_REFUSED = {
    "bart": "it is an encoder with a decoder, of which only T5's kind is cut",
    "big_bird": "it looks at random places of long texts, so the same text gives other states each time",
    "canine": "it reads code points through hashes instead of a vocabulary, and has no fast tokenizer",
    "convbert": "its convolutions read padding, so a text's states depend on the batch it is in",
    "esm": "it reads proteins",
    "esmc": "it reads proteins",
    "flaubert": "transformers has no fast tokenizer for it",
    "fnet": "it mixes all places, padding included, so a text's states depend on the batch it is in",
    "funnel": "it shortens texts from layer to layer, so pieces have no states of their own",
    "jina_embeddings_v3": "its adapters are chosen by task, which nothing here chooses",
    "longformer": "which places look at all others is chosen by hand, task by task",
    "mbart": "it is an encoder with a decoder, of which only T5's kind is cut",
    "modernvbert": "it reads pictures",
    "mra": "its attention is a kernel that is compiled for one GPU",
    "mvp": "it is an encoder with a decoder, of which only T5's kind is cut",
    "neomme": "it reads pictures",
    "new": "it is code of its repository, which is never run; transformers' own class is of the type 'gte' "
    "(alibaba-nlp-community/gte-multilingual-base)",
    "nystromformer": "its attention reads padding, so a text's states depend on the batch it is in",
    "perceiver": "its states are not those of pieces",
    "reformer": "it hashes at random, so the same text gives other states each time",
    "tapas": "it reads tables",
    "ultravbert": "it reads pictures",
    "xlm": "transformers has no fast tokenizer for it",
    "yoso": "it hashes at random, so the same text gives other states each time",
}
"""Model type -> why it is no encoder here."""
_FROM_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
"""Types whose positions are numbered from the padding id + 1, as RoBERTa's."""
_PROJECTIONS = ("embeddings_project", "encoder.embedding_hidden_mapping_in")
"""What widens embeddings that are narrower than the layers, where it is not a part of `embeddings`."""


def class_name(interface: str, config: Mapping[str, Any]) -> str:
    """Return the class of transformers for a model's config.json.

    Raises:
      ValueError: there is none that fits; the text says why and what is allowed.
    """
    model_type = str(config.get("model_type"))
    name = CLASSES.get((interface, model_type)) or (_UNTRIED.get(model_type) if interface == "encoder" else None)
    if name is None:
        offered = sorted(kind for i, kind in CLASSES if i == interface)
        why = f" ({_REFUSED[model_type]})" if interface == "encoder" and model_type in _REFUSED else ""
        raise ValueError(
            f"model type {model_type!r} cannot be used with interface {interface!r}{why}; supported: "
            f"{', '.join(offered)}.{nearest(model_type, offered)}"
        )
    if model_type == "xmod" and not config.get("default_language"):
        raise ValueError(
            "config.json names no default_language, and X-MOD reads with one language's adapters; write one of its "
            f'languages there, for example {{"default_language": "{(config.get("languages") or ["en_XX"])[0]}"}}.'
        )
    return name


def options(model_class: type) -> dict[str, Any]:
    """Return arguments of a class besides its configuration: no pooler, whose weights would often be random."""
    takes = "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if takes else {}


def reader(backbone: Any) -> Any:
    """Return what of a model makes states of a text: its encoder; of one that is a decoder alone, all but its output
    layer.
    """
    if backbone.config.is_encoder_decoder:
        return backbone.get_encoder()
    return backbone.base_model


def layers(encoder: Any) -> nn.ModuleList:
    """Return an encoder's layers, the lowest first; none where it has no list of them (ALBERT's are one and the same).

    Args:
      encoder: of transformers; of a model with a decoder, its encoder alone.
    """
    from torch import nn

    depth = encoder.config.num_hidden_layers
    lists = (module for module in encoder.modules() if isinstance(module, nn.ModuleList))
    return next((one for one in lists if len(one) == depth), nn.ModuleList())


def below_layers(backbone: Any) -> list[nn.Module]:
    """Return what is before an encoder's first layer and has weights: its embeddings and what widens them."""
    from torch import nn

    modules = [getattr(backbone, "embeddings", None) or backbone.get_input_embeddings()]
    for name in _PROJECTIONS:
        module = backbone
        for part in name.split("."):
            module = getattr(module, part, None)
        if isinstance(module, nn.Module):
            modules.append(module)
    return modules


def counts_from_padding(model_type: str) -> bool:
    """Return whether positions are numbered from the padding id + 1, so that this id must stay what it is."""
    return model_type in _FROM_PADDING


def positions(config: Mapping[str, Any]) -> int | None:
    """Return how many pieces a model can read by its config.json; None where nothing limits them."""
    count = config.get("max_position_embeddings")
    if count is None:
        return None
    if counts_from_padding(str(config["model_type"])):
        return int(count) - int(config["pad_token_id"]) - 1
    return int(count)


def facts(model: Any) -> dict[str, Any]:
    """Return what model.json says of an encoder that its config.json and weights do not say by one name."""
    weight = model.get_input_embeddings().weight
    name = next(name for name, parameter in model.named_parameters() if parameter is weight)
    return {
        "embedding": name,
        "hidden_size": int(model.config.hidden_size),
        "layers": int(model.config.num_hidden_layers),
    }


def check(model: Any, ids: list[int], pad: int) -> str | None:
    """Try an encoder of a type that tests do not run on a short text; return what is wrong, None if nothing.

    Args:
      model: as loaded.
      ids: of a text of at least three pieces.
      pad: the padding id.
    """
    import torch

    model.eval()
    longer = [*ids, pad, pad]
    other = [*ids[:-1], ids[0]]

    def states(row: list[int], mask: list[int]) -> tuple[Tensor, ...]:
        arguments = {"input_ids": torch.tensor([row]), "attention_mask": torch.tensor([mask])}
        with torch.no_grad():
            output = model(**arguments, output_hidden_states=True)
        return (output.last_hidden_state, *output.hidden_states)

    try:
        last, *rest = states(ids, [1] * len(ids))
        padded = states(longer, [1] * len(ids) + [0, 0])[0]
        changed = states(other, [1] * len(ids))[0]
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        return f"it does not read ids and an attention mask ({' '.join(str(error).split())[:200]})"
    if len(rest) != model.config.num_hidden_layers + 1 or last.shape[:2] != (1, len(ids)):
        return "it does not return a state of every layer for every piece"
    if not torch.allclose(padded[:, : len(ids)], last, rtol=0.01, atol=0.01 * float(last.abs().max())):
        return "it reads padding, so a text's states depend on the batch it is in"
    if torch.equal(changed[:, 0], last[:, 0]):
        return "its first place does not see the last one"
    return None
