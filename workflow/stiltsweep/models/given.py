"""Files of a model directory that somebody else wrote: found as transformers finds them, and refused where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import unique

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"


def weights(folder: Path, name: str) -> list[Path]:
    """Return a directory's weights of one format: the file of that name, else those that its index names, else none.

    Other files, such as a second copy of the weights (`consolidated.safetensors`), are none of the model's.

    Raises:
      UserError: the index names a file that is not there, or elsewhere.
    """
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return []
    where = json_object(index).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise UserError(
            f"{index}: has no weight_map, which says in which file each tensor is. Get the whole directory again, or "
            "use another revision."
        )
    named = sorted(set(map(str, where.values())))
    for part in named:
        if Path(part).name != part or not (folder / part).is_file():
            raise UserError(
                f"{index}: names {part!r}, which is not there, beside it. Bring the whole directory, or use another "
                "revision."
            )
    return [folder / part for part in named]


def check_safetensors(path: Path) -> None:
    """Compare a file's header with its size and itself, before anything believes it.

    Raises:
      UserError: it is cut off, or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            pass
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({' '.join(str(error).split())[:160]}). Was its download cut off? "
            "Get it again, or use another revision."
        ) from None


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that has to be an object.

    Raises:
      UserError: it is not.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error}). Get it again, or use another revision.") from None
    if not isinstance(value, dict):
        raise UserError(
            f"{path}: holds a {type(value).__name__}, where a JSON object is expected. Get it again, or use another "
            "revision."
        )
    return value
