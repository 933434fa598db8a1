"""Models and data sets from a hub that speaks the real one's protocol, and what each of its faults gets."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from local_hub import Hub
from safetensors.torch import load_file

import tiny
from stiltsweep import config
from stiltsweep.catalog import Model
from stiltsweep.errors import UserError
from stiltsweep.files import read_json
from stiltsweep.jobs import Jobs
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models import given, pickles
from stiltsweep.models.fetch import fetch
from stiltsweep.models.load import Source, build, save_checkpoint, trainable
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows
from stiltsweep.resources import Needs
from stiltsweep.sweep import Sweep


class Worker:
    """Runs the scripts `fetch` and `prepare` against a hub; see hub_worker.py."""

    def __init__(self, hub: Hub) -> None:
        keys = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("hub_worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **keys},
        )  # fmt: skip

    def run(
        self, script: str, cache: Path, offline: bool, arguments: list[str], token: str | None = None
    ) -> tuple[int, str]:
        assert self.process.stdin and self.process.stdout
        asked = {"script": script, "arguments": arguments, "cache": str(cache), "offline": offline, "token": token}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["text"]

    def fetch(
        self, folder: Path, repo: str, *, offline: bool = False, token: str | None = None, **source: Any
    ) -> tuple[int, str]:
        about = {"interface": source.pop("interface", "encoder")}
        about["source"] = {"type": "hub", "repo": repo, "revision": "main", **source}
        return self.run(
            "fetch", folder / "cache", offline,
            ["--model", "m", "--definition", json.dumps(about), "--output", str(folder / "model" / "model.json")],
            token,
        )  # fmt: skip

    def prepare(self, folder: Path, language: str, *, offline: bool = False, **source: Any) -> tuple[int, str]:
        counts = {"test": published.TEST}
        about: dict[str, Any] = {
            "kind": "classification",
            "licence": "none",
            "parallel": "none",
            "metrics": ["accuracy"],
        }
        about |= {"text2text": {}, "labels": LABELS, "languages": {language: counts}, "source": {**XNLI, **source}}
        return self.run(
            "prepare", folder / "cache", offline,
            ["--task", "t", "--language", language, "--definition", json.dumps(about),
             "--output", str(folder / "data" / "t" / f"{language}.parquet")],
        )  # fmt: skip


LABELS = ["entailment", "neutral", "contradiction"]
XNLI: dict[str, Any] = {
    "type": "hub",
    "dataset": "facebook/xnli",
    "config": "{language}",
    "columns": {"id": "$row", "text_a": "premise", "text_b": "hypothesis", "label": {"column": "label", "map": LABELS}},
    "splits": {"test": "test"},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    with Hub() as hub:
        for kind, form in LAYOUTS:
            published.model(folder / f"{kind}-{form}", kind, form)
            hub.add("model", f"x/{kind}-{form}", folder / f"{kind}-{form}")
        for gated in ("closed", "asked"):
            hub.add("model", f"x/{gated}", folder / "xlm-roberta-safetensors", gated=gated)
        configs = dict(published.data_sets())["facebook/xnli"]
        published.data_set(folder / "xnli", configs)
        commit = hub.add("dataset", "facebook/xnli", folder / "xnli")
        hub.add("dataset", "x/closed", folder / "xnli", gated="closed")
        XNLI["revision"] = commit
        yield hub


@pytest.fixture(scope="module")
def worker(hub: Hub) -> Iterator[Worker]:
    made = Worker(hub)
    yield made
    made.process.stdin.close()  # type: ignore[union-attr]
    made.process.wait()


@pytest.fixture(autouse=True)
def nothing_is_left_wrong(hub: Hub) -> Iterator[None]:
    yield
    hub.faults.clear()
    hub.asked.clear()


LAYOUTS = [
    ("mt5", "safetensors"),
    ("mt5", "sharded"),
    ("mt5", "pickle"),
    ("mt5", "legacy"),
    ("mt5", "parts"),
    ("byt5", "legacy"),
    ("xlm-roberta", "safetensors"),
    ("xlm-roberta", "legacy"),
    ("deberta-v2", "pickle"),
]


@pytest.mark.parametrize(("kind", "form"), LAYOUTS)
def test_every_published_layout_is_fetched(hub: Hub, worker: Worker, tmp_path: Path, kind: str, form: str) -> None:
    interface = "text2text" if kind in ("mt5", "byt5") else "encoder"
    status, text = worker.fetch(tmp_path, f"x/{kind}-{form}", interface=interface)
    assert status == 0, text
    about = read_json(tmp_path / "model" / "model.json")
    files = hub.repositories["model", f"x/{kind}-{form}"].commits[about["source"]["revision"]]
    weights = {name: file.sha256 for name, file in files.items() if name.endswith((".bin", ".safetensors"))}
    assert about["source"]["sha256"] == weights and weights
    asked = [address for _, address, _ in hub.asked if "/resolve/" in address]
    assert not any(address.endswith((".h5", ".msgpack", ".py")) for address in asked)
    if kind == "mt5":
        # Whatever form the weights come in, they are the same tensors.
        _, text = worker.fetch(tmp_path / "again", "x/mt5-safetensors", interface=interface)
        assert about["weights_sha256"] == read_json(tmp_path / "again" / "model" / "model.json")["weights_sha256"], text
        tensors = load_file(tmp_path / "model" / "model.safetensors")
        assert not tensors["lm_head.weight"].equal(tensors["shared.weight"])
        size = about["vocabulary_size"]
        assert len(about["sentinels"]) == 10 and size - 16 < about["sentinels"][0] < size
    if kind == "byt5":
        assert about["sentinels"][0] == 258 and about["vocabulary_size"] == 384


def test_faults_that_pass_are_waited_out_and_said_in_one_line(hub: Hub, worker: Worker, tmp_path: Path) -> None:
    hub.fault("GET", "/api/models/x/mt5-legacy/tree", status=500)
    hub.fault("HEAD", "mt5-legacy/resolve/.*bin", status=503)
    broken = hub.fault("GET", "/storage/", reset_after=20_000)
    status, text = worker.fetch(tmp_path, "x/mt5-legacy", interface="text2text")
    assert status == 0 and broken.met == 1, text
    assert text.count("HTTP 500; tried again in 1 s") == 1 and text.count("HTTP 503; tried again in 1 s") == 1
    assert text.count("it goes on from where it broke off") == 1
    ranges = [part for method, address, part in hub.asked if method == "GET" and "/storage/" in address]
    # The client had what had arrived, which may be less than what was sent.
    assert len(ranges) == 3 and any(part.startswith("bytes=") and part != "bytes=0-" for part in ranges)


@pytest.mark.parametrize(
    ("fault", "source", "words"),
    [
        ({"flip": True}, {}, ["pytorch_model.bin is not the hub's file", "taken out of the cache"]),
        ({}, {"sha256": {"pytorch_model.bin": "0" * 64}}, ["source.sha256 states 0000"]),
        ({}, {"commit": "1234567"}, ["has seen 1234567", "was moved"]),
        ({}, {"revision": "1" * 40}, ["no such revision"]),
        ({}, {"repo": "x/none"}, ["knows no repository x/none", "hf auth login"]),
        ({}, {"repo": "x/closed"}, ["is gated: accept its terms at http://127.0.0.1", "hf auth login", "HF_TOKEN"]),
        ({}, {"repo": "x/asked"}, ["is gated: accept its terms"]),
    ],
)
def test_what_stays_wrong_is_one_sentence(
    hub: Hub, worker: Worker, tmp_path: Path, fault: dict[str, Any], source: dict[str, Any], words: list[str]
) -> None:
    name = source.pop("repo", "x/xlm-roberta-legacy")
    if fault:
        hub.fault("GET", f"/storage/{_digest(hub, name, 'pytorch_model.bin')}", **fault)
    status, text = worker.fetch(tmp_path, name, **source)
    assert status == 1 and "Traceback" not in text
    (error,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert all(word in error for word in words), error
    assert not (tmp_path / "model" / "model.json").exists()
    if fault:
        # What was damaged is not found again.
        assert worker.fetch(tmp_path, name, **source)[0] == 0


def _digest(hub: Hub, name: str, file: str) -> str:
    (files,) = hub.repositories["model", name].commits.values()
    return files[file].sha256


@pytest.mark.slow
def test_a_hub_that_asks_to_wait_for_ever_is_believed(hub: Hub, worker: Worker, tmp_path: Path) -> None:
    hub.fault("GET", "/api/models/x/deberta", status=429, times=1000)
    status, text = worker.fetch(tmp_path, "x/deberta-v2-pickle")
    assert status == 1 and "the hub asks to wait (HTTP 429" in text.splitlines()[-1]
    hub.fault("HEAD", "/datasets/facebook/xnli", status=429, times=1000)
    hub.fault("GET", "/datasets/facebook/xnli", status=429, times=1000)
    status, text = worker.prepare(tmp_path, "de")
    assert status == 1 and "the hub asks to wait (HTTP 429" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "2"}, 2), ({"RateLimit": '"api";r=0;t=2'}, 3), ({}, 1)]
)
def test_a_hub_that_asks_to_wait_a_moment_is_waited_for(
    hub: Hub, worker: Worker, tmp_path: Path, headers: dict[str, str], seconds: int
) -> None:
    hub.fault("GET", "/api/models/x/deberta", status=429, headers=headers)
    status, text = worker.fetch(tmp_path, "x/deberta-v2-pickle")
    assert status == 0 and text.count(f"the hub asks to wait (HTTP 429); tried again in {seconds} s") == 1


def test_offline_a_filled_cache_is_enough_and_else_the_sentence_says_where(
    hub: Hub, worker: Worker, tmp_path: Path
) -> None:
    commit = next(iter(hub.repositories["model", "x/mt5-legacy"].commits))
    about: dict[str, Any] = {"interface": "text2text", "revision": commit}
    assert worker.fetch(tmp_path, "x/mt5-legacy", **about)[0] == 0
    first = read_json(tmp_path / "model" / "model.json")
    status, text = worker.fetch(tmp_path, "x/mt5-legacy", offline=True, **about)
    assert status == 0, text
    assert read_json(tmp_path / "model" / "model.json")["source"] == first["source"]
    status, text = worker.fetch(tmp_path, "x/mt5-pickle", offline=True, **about)
    error = text.splitlines()[-1]
    assert status == 1 and f"hf download x/mt5-pickle --revision {commit}" in error and "--until fetch prepare" in error


def test_data_sets_are_downloaded_compared_and_read(hub: Hub, worker: Worker, tmp_path: Path) -> None:
    hub.fault("GET", "/storage/", reset_after=500)
    hub.fault("GET", "/api/datasets/", status=502)
    status, text = worker.prepare(tmp_path, "de")
    assert status == 0, text
    rows = list(read_rows(tmp_path / "data/t/de.parquet", "test"))
    upstream = dict(published.data_sets())["facebook/xnli"]["de"]["test"]
    assert [row["text_a"] for row in rows] == [row["premise"] for row in upstream]
    assert read_meta(tmp_path / "data/t/de.parquet").source["datasets"] == {"facebook/xnli": XNLI["revision"]}
    # Of one split of one configuration, and no other file.
    assert len({address for _, address, _ in hub.asked if "/storage/" in address}) == 1
    (tmp_path / "data/t/de.parquet").unlink()
    status, text = worker.prepare(tmp_path, "de", offline=True)
    assert status == 0, text
    status, text = worker.prepare(tmp_path, "sw", offline=True)
    error = text.splitlines()[-1]
    assert status == 1 and "hf download facebook/xnli --repo-type dataset" in error and "does not hold it" in error


def test_a_data_set_whose_file_is_damaged_or_gated_is_refused(hub: Hub, worker: Worker, tmp_path: Path) -> None:
    hub.fault("GET", "/storage/", flip=True)
    status, text = worker.prepare(tmp_path, "ru")
    assert status == 1 and "ru/test-00000-of-00001.parquet is not the hub's file" in text.splitlines()[-1]
    assert worker.prepare(tmp_path, "ru")[0] == 0
    status, text = worker.prepare(tmp_path, "en", dataset="x/closed")
    assert status == 1 and "x/closed" in text.splitlines()[-1] and "is gated: accept its terms" in text.splitlines()[-1]
    status, text = worker.prepare(tmp_path, "en", config="{language}x")
    assert status == 1 and "Did you mean 'en'?" in text.splitlines()[-1]
    status, text = worker.prepare(tmp_path, "en", splits={"test": "tset"})
    assert status == 1 and "Did you mean 'test'?" in text.splitlines()[-1]


def test_a_token_opens_what_is_gated_and_goes_to_the_hub_alone(hub: Hub, worker: Worker, tmp_path: Path) -> None:
    """And large files come by HTTP although hf_xet is installed, whose client would try nothing again."""
    hub.xet = True
    try:
        status, text = worker.fetch(tmp_path, "x/closed", token="hf_let_in")
    finally:
        hub.xet = False
    assert status == 0, text


# Pickles.


class Calls:
    """An object whose pickle calls something."""

    def __init__(self, called: Any, argument: str) -> None:
        self.made = called, (argument,)

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("what", ["system", "exec", "raw", "script", "cut", "strides", "nested", "html", "meta"])
def test_a_pickle_that_is_no_plain_weights_is_refused_and_does_nothing(tmp_path: Path, what: str, legacy: bool) -> None:
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    weights = {"a.weight": torch.randn(200, 30), "b": torch.ones(3)}

    def save(value: Any) -> None:
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)

    if what == "system":
        save({**weights, "c": Calls(os.system, f"touch {mark}")})
    elif what == "exec":
        save({**weights, "c": Calls(exec, f"open({str(mark)!r}, 'w')")})
    elif what == "raw":
        path.write_bytes(pickle.dumps(Calls(os.system, f"touch {mark}"), protocol=2 if legacy else 4))
    elif what == "script":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    elif what == "cut":
        save(weights)
        path.write_bytes(path.read_bytes()[:-9000])
    elif what == "strides":
        save({"a": torch.zeros(1).expand(10**12)})
    elif what == "nested":
        save({"state_dict": weights})
    elif what == "html":
        path.write_text("<html>Not found</html>")
    else:
        save({"a": torch.empty(3, device="meta")})
    words = {"system": "it asks for posix.system", "exec": "it asks for exec", "script": "TorchScript archive"}
    words |= {
        "strides": "claims more than the file holds",
        "nested": "named tensors are expected",
        "cut": "not a whole file",
    }
    with pytest.raises(UserError, match=words.get(what, "refused")) as error:
        pickles.rewrite([path], tmp_path)
    assert set(tmp_path.iterdir()) <= {path}
    assert "\n" not in str(error.value) and not mark.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_rewritten_tensors_are_those_of_the_pickle(
    tmp_path: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "_SHARD_BYTES", 1000)
    monkeypatch.setattr(pickles, "_SMALL_BYTES", 20)
    made = {
        "encoder.embed_tokens.weight": torch.randn(50, 8),
        "half": torch.randn(3, 5).half(),
        "bfloat": torch.randn(7).bfloat16(),
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 4),
        "across": torch.randn(4, 6).t(),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
    }
    made["shared.weight"] = made["encoder.embed_tokens.weight"]
    torch.save(made, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert pickles.rewrite(given.weights(tmp_path, given.PICKLE), tmp_path) == len(made) - 1
    assert not (tmp_path / ".storage").exists()
    found = {key: value for path in tmp_path.glob("*.safetensors") for key, value in load_file(path).items()}
    # A tensor with two names has one, and it is that which transformers ties the others to.
    assert set(found) == made.keys() - {"encoder.embed_tokens.weight"}
    for key, value in found.items():
        assert value.dtype == made[key].dtype and value.shape == made[key].shape
        assert (
            value.contiguous().numpy(force=True).tobytes() == made[key].contiguous().numpy().tobytes()
            if (value.dtype != torch.bfloat16)
            else value.equal(made[key])
        )


@pytest.mark.parametrize(("width", "rows"), [(16, 0), (32, 2000), (64, 9000)])
def test_planned_bytes_of_a_checkpoint_are_those_written(
    tmp_path: Path, width: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of models that write text, at three sizes: they keep their vocabulary, which the catalogue says may be pruned."""
    monkeypatch.chdir(tmp_path)
    published.model(tmp_path / "upstream", "mt5", width=width, rows=rows)
    source = {"type": "files", "path": "upstream"}
    about = fetch(Model("own", {"interface": "text2text", "source": source}), tmp_path / "model")
    entry: dict[str, Any] = {
        "interface": "text2text",
        "description": "Random weights.",
        "licence": "none",
        "source": source,
    }
    entry |= {"parameters": about["parameters"], "hidden_size": width, "layers": 2, "decoder_layers": 1}
    (tmp_path / "own" / "models").mkdir(parents=True)
    (tmp_path / "own" / "models" / "own.yaml").write_text(
        json.dumps({**entry, "vocabulary": {"size": about["vocabulary_size"], "prune": True}})
    )
    settings = {"catalog": ["own"], "models": ["own"], "intermediates": ["none"], "targets": {"intent": ["de"]}}
    sweep = Sweep(*config.resolve(settings))
    names = {"model": "own", "intermediate": "none", "training": "intent"}
    planned = Needs(Jobs(sweep)).need("finetune", names).checkpoint_bytes
    base = Source.read(tmp_path / "model" / "model.json")
    data = tiny.classification(tmp_path / "data", train=4, dev=4, test=4)
    kind = form(
        read_meta(data["en"]),
        Tokenizer.from_directory(base.base),
        interface="text2text",
        limits=Limits(60, 8, 16),
        representation=Representation("mean", -1, "mean", ""),
    )
    model = build(base, kind, kept=None, seed=0)
    parameters = trainable(model, freeze_embeddings=False, freeze_layers=0)
    (tmp_path / "out").mkdir()
    save_checkpoint(tmp_path / "out", model, base, [name for name, _ in parameters])
    written = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert planned == 4 * about["parameters"]
    # Besides: names and shapes, and the numbers of the rows of both matrices.
    assert 0 <= written - planned - 2 * 8 * about["vocabulary_size"] < 10_000


def test_the_index_of_pickles_names_files_beside_it_only(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../pytorch_model.bin"}}))
    with pytest.raises(UserError, match="not there"):
        given.weights(tmp_path, given.PICKLE)


def test_the_pieces_appended_to_a_vocabulary_are_read_by_sentencepiece(tmp_path: Path) -> None:
    import sentencepiece

    published.model(tmp_path / "mt5", "mt5")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "mt5" / "spiece.model"))
    assert processor.id_to_piece(processor.vocab_size() - 1) == "▁<extra_id_0>"
    assert hashlib.sha256((tmp_path / "mt5" / "spiece.model").read_bytes()).hexdigest()
