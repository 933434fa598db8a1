"""One process that fetches models and prepares data against a hub, a fork for each: `HF_ENDPOINT` is read at import.

Reads JSON lines {"script": "fetch" or "prepare", "arguments": [...], "cache": folder, "offline": bool,
"token": string or null} and answers each with {"status": of the script, "text": what it wrote}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Import what jobs import, then serve."""
    sys.path[:0] = [str(Path(__file__).parents[1] / "workflow" / part) for part in ("", "scripts")]
    import datasets
    import huggingface_hub.constants as constants
    import pyarrow.parquet
    import safetensors.torch
    import scipy.optimize
    import sklearn.metrics
    import torch
    import transformers

    # Names of transformers are imported when they are asked for, with much of torch behind them: once, not in every fork.
    _ = (
        *(pyarrow.parquet, safetensors, scipy.optimize, sklearn.metrics, torch, transformers.AutoModel),
        *(transformers.XLMRobertaModel, transformers.DebertaV2Model, transformers.T5ForConditionalGeneration),
        *(transformers.MT5ForConditionalGeneration, transformers.PreTrainedTokenizerFast),
    )
    torch.set_num_threads(1)
    # What has arrived is kept by pieces of this size: 10 MB would be more than all these files.
    constants.DOWNLOAD_CHUNK_SIZE = 4096
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile("w+") as log:
            child = os.fork()
            if not child:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                constants.HF_HUB_CACHE = asked["cache"]
                datasets.config.HF_DATASETS_CACHE = Path(asked["cache"]) / "datasets"
                if asked.get("token"):
                    os.environ["HF_TOKEN"] = asked["token"]
                if asked.get("offline"):
                    os.environ["HF_HUB_OFFLINE"] = "1"
                    constants.HF_HUB_OFFLINE = True
                    datasets.config.HF_HUB_OFFLINE = True
                sys.argv = [asked["script"], *asked["arguments"]]
                try:
                    importlib.import_module(asked["script"])
                except SystemExit as end:
                    sys.stderr.flush()
                    os._exit(int(end.code or 0))
                except BaseException:
                    import traceback

                    traceback.print_exc()
                    sys.stderr.flush()
                    os._exit(99)
            _, status = os.waitpid(child, 0)
            log.seek(0)
            print(json.dumps({"status": os.waitstatus_to_exitcode(status), "text": log.read()}), flush=True)


main()
