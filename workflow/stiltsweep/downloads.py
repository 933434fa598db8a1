"""Files of the Hugging Face hub: tried again where a fault passes, compared with its digests, explained if not had.

The hub's own client downloads, keeps and finds again. What is added: a server's fault or a connection that breaks is
waited out, and a file goes on where it broke off; every file is compared with the digest that the hub states of it
before anything reads it; and what stays impossible is one sentence that says what to do.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import UserError, of_disk
from .files import digest_file

LOG = logging.getLogger("stiltsweep")
_WAITS = (1, 2, 4, 8, 16)
"""Seconds before each further try of a request that a fault of the server or the line has ended."""
_NOT_FOUND, _TOO_MANY = 404, 429
_LONGEST_WAIT = 300
"""Seconds that the hub may ask for."""
_AT_ONCE = 200
"""Files asked about in one request."""
_NETWORK_PACKAGES = ("aiohttp", "datasets", "httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3")
_refusals: list[tuple[int, str]] = []
"""Status and `X-Error-Code` of the hub's refusals, the last one last: libraries between here and there hide them."""


def endpoint() -> str:
    """Return the hub's address."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def cache() -> Path:
    """Return the folder of the hub's cache, as the hub's client takes it from the environment."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home, "hub")
    return Path(os.path.expandvars(named)).expanduser()


def offline() -> bool:
    """Whether the environment forbids to ask the hub."""
    return any(os.environ.get(key, "0").upper() in ("1", "ON", "YES", "TRUE") for key in _OFFLINE)


_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@functools.cache
def patient() -> None:
    """Have the hub's client wait out passing faults, in this process and from now on."""
    import huggingface_hub.constants
    from huggingface_hub.utils._http import default_client_factory

    # datasets counts every data set that is opened at an address of its own, which is none that anybody was told of.
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_UPDATE_DOWNLOAD_COUNTS = False
    # Its other way to large files (hf_xet) brings an HTTP client of its own, which nothing here would reach.
    huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    # It says of every try what is said below, twice.
    huggingface_hub.logging.set_verbosity_error()

    def client() -> Any:
        made = default_client_factory()
        made.send = functools.partial(_send, made.send, {})  # type: ignore[method-assign]
        return made

    huggingface_hub.set_client_factory(client)


def _send(plain: Callable[..., Any], spent: dict[str, int], request: Any, *, stream: bool = False, **more: Any) -> Any:
    """Send a request, and again after a server's fault (5xx) or a connection that broke; see `httpx2.Client.send`.

    Args:
      plain: sends once.
      spent: address -> tries that it took beyond the first.
      request, stream, more: see there.
    """
    import httpx2

    address = str(request.url).partition("?")[0]
    while True:
        response, tries = None, spent.get(address, 0)
        try:
            response = plain(request, stream=stream, **more)
        except httpx2.ConnectError as error:
            if not tries:
                LOG.info("%s: no connection (%s)", address, error)
            spent[address] = len(_WAITS)  # a hub out of reach stays so; the client tries some times by itself
            raise
        except (httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError) as error:
            if tries >= len(_WAITS):
                raise
            reason, wait = f"the connection broke ({error or type(error).__name__})", _WAITS[tries]
        else:
            status = response.status_code
            if (status < 500 and status != _TOO_MANY) or tries >= len(_WAITS):
                code = response.headers.get("X-Error-Code", "")
                if status >= 400 and (status != _NOT_FOUND or code == "RevisionNotFound"):
                    _refusals.append((status, code))
                if stream:
                    response.stream = _mendable(response.stream, address)
                return response
            wait = _asked(response.headers) or _WAITS[tries]
            reason = "the hub asks to wait (HTTP 429)" if status == _TOO_MANY else f"HTTP {status}"
            response.close()
        spent[address] = tries + 1
        LOG.info("%s: %s; tried again in %d s (%d of %d)", address, reason, wait, tries + 1, len(_WAITS))
        time.sleep(wait)


def _asked(headers: Any) -> int:
    """Return how many seconds a server asks to wait: the hub by `RateLimit`, others by `Retry-After`; else 0."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and not limit.remaining:
        return min(limit.reset_in_seconds + 1, _LONGEST_WAIT)
    after = headers.get("Retry-After", "")
    return min(int(after), _LONGEST_WAIT) if after.isdigit() else 0


def _mendable(body: Any, address: str) -> Any:
    """Return a body that says of a connection that breaks what the hub's client goes on after, from that byte."""
    import httpx2

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from body
            except (httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError) as error:
                reason = f"the connection broke ({error or type(error).__name__})"
                LOG.info("%s: %s; it goes on from where it broke off", address, reason)
                raise httpx2.RemoteProtocolError(reason) from error

        def close(self) -> None:
            body.close()

    return Body()


def out_of_reach(error: Exception) -> bool:
    """Tell a network or hub failure from a bug; the hub's client passes on errors of whichever HTTP library it uses."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _NETWORK_PACKAGES


def forget_refusals() -> None:
    """Begin anew to note what the hub refuses, before what is asked next."""
    _refusals.clear()


def failure(what: str, repo: str, page: str, error: Exception, otherwise: str) -> UserError:
    """Return the sentence for a repository or a file that cannot be had.

    Args:
      what: names it.
      repo: owner/name.
      page: its page below the hub's address.
      error: what the client raised.
      otherwise: the advice where there is no network, or nothing better to say.
    """
    status, code = _refusals[-1] if _refusals else (0, "")
    own = getattr(getattr(error, "response", None), "status_code", None)
    if own and own >= 400:
        status, code = own, getattr(error, "response").headers.get("X-Error-Code", "")  # noqa: B009
    address = f"{endpoint()}/{page}"
    if of_disk(error):
        return UserError(
            f"{what} cannot be kept: {os.strerror(error.errno or 0)} at {error.filename or cache()}. Make room or get "
            "the right to write there, or set HF_HOME to another folder, and run the same command again; what has "
            "arrived is kept."
        )
    if code == "GatedRepo":
        return UserError(
            f"{what} is gated: accept its terms at {address}, log in here with 'hf auth login' (or set HF_TOKEN) as "
            "who accepted them, and run the same command again."
        )
    if status in (401, 403) or code == "RepoNotFound":
        return UserError(
            f"{what} cannot be had: the hub knows no repository {repo}, or hides it from who is not logged in (HTTP "
            f"{status}). Look at {address}; if it is there for you, log in here with 'hf auth login' (or set HF_TOKEN)."
        )
    if code == "RevisionNotFound" or type(error).__name__ == "RevisionNotFoundError":
        return UserError(f"{what} cannot be had: {repo} has no such revision. Name one of {address}/commits/main.")
    if status == 429:
        return UserError(
            f"{what} cannot be had now: the hub asks to wait (HTTP 429, too many requests). Run the same command "
            "again in some minutes; after 'hf auth login' it allows more."
        )
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    if status >= 500:
        reason = f"the hub answers HTTP {status}, {len(_WAITS)} times in {sum(_WAITS)} seconds"
    return UserError(f"{what} cannot be had ({reason}). {otherwise}")


def compare(repo: str, kind: str, commit: str, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Compare downloaded files with the hub's digests of them; return the sha256 of those that it keeps as large files.

    Without a network the name that the hub's cache has for a file's content, which is the same digest, stands for it.

    Args:
      repo: owner/name.
      kind: `model` or `dataset`.
      commit: of the repository.
      folder: the commit's folder of the hub's cache.
      names: files in it.

    Raises:
      UserError: a file is not what the hub has; it is taken out of the cache.
    """
    wanted = sorted(names)
    stated = _stated(repo, kind, commit, wanted)
    digests = {}
    for name in wanted:
        path = folder / name
        content = path.resolve()
        digest = stated.get(name) or content.name
        if len(digest) == 64:
            actual = digests[name] = digest_file(path)
        elif len(digest) == 40:
            actual = _blob_digest(path)
        else:
            LOG.warning(
                "%s: the hub cannot be asked for its digest, and the cache does not name it: not compared", path
            )
            continue
        if actual != digest:
            path.unlink(missing_ok=True)
            content.unlink(missing_ok=True)
            raise UserError(
                f"{repo} at {commit}: {name} is not the hub's file: its digest is {actual}, the hub states {digest}. "
                "It was damaged on its way or on this disk, and has been taken out of the cache; run the same command "
                "again, which downloads it anew."
            )
    return digests


def _stated(repo: str, kind: str, commit: str, names: list[str]) -> dict[str, str]:
    """Return name -> the hub's digest: sha256 of large files, Git's of others; empty without a network."""
    if offline():
        return {}
    import huggingface_hub

    digests = {}
    try:
        for start in range(0, len(names), _AT_ONCE):
            chunk = names[start : start + _AT_ONCE]
            for about in huggingface_hub.HfApi().get_paths_info(repo, chunk, revision=commit, repo_type=kind):
                if isinstance(about, huggingface_hub.hf_api.RepoFile):
                    digests[about.path] = about.lfs.sha256 if about.lfs else about.blob_id
    except Exception as error:
        if not out_of_reach(error):
            raise
        LOG.warning("%s: the hub cannot be asked for digests (%s); those of its cache stand for them", repo, error)
        return {}
    return digests


def _blob_digest(path: Path) -> str:
    """Return Git's digest of a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
