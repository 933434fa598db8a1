"""A hub on 127.0.0.1: what huggingface_hub and datasets ask of the real one, and its faults.

Speaks: model and data set information by revision (branches, tags, refs/..., commits), the tree with LFS digests and
pages, paths-info, resolve with ETag, Range, redirects to a storage address, X-Repo-Commit, X-Linked-* and the Xet
headers, gating with its error codes; and for a token that may write: making a repository, preupload, LFS batches and a
commit. Written from the client's side: what it sends and what it reads.

A repository is a folder of files; a commit is the digest of their contents. Faults are rules that each request is held
against, so that a test says `hub.fault("GET", "pytorch_model.bin", times=1, status=500)`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

LARGE = 1000
"""Bytes from which on a file is kept as a large one (LFS): the real hub goes by name and 10 MB."""
_LARGE_NAMES = (".safetensors", ".bin", ".parquet", ".model")
_PAGE = 50
"""Files of one page of a tree."""
WRITER = "hf_writer"
"""The token that may write, below the name `me`."""


@dataclass
class File:
    path: Path
    sha256: str
    sha1: str

    @classmethod
    def of(cls, path: Path) -> File:
        large, size = hashlib.sha256(), path.stat().st_size
        blob = hashlib.sha1(b"blob %d\0" % size)
        with open(path, "rb") as handle:
            while chunk := handle.read(1 << 20):
                large.update(chunk)
                blob.update(chunk)
        return cls(path, large.hexdigest(), blob.hexdigest())

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def large(self) -> bool:
        return self.path.name.endswith(_LARGE_NAMES) or self.size > 10_000_000

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.sha1


@dataclass
class Repository:
    kind: str
    name: str
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    gated: str = ""
    """`closed`: nobody has a token; `asked`: a token that was not let in."""

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


@dataclass
class Fault:
    """What goes wrong with requests whose method and address fit."""

    method: str
    pattern: str
    times: int
    status: int = 0
    reset_after: int = -1
    """Bytes of the body after which the connection is reset."""
    flip: bool = False
    """One bit of the body is another."""
    truncate: bool = False
    """The body ends early, as long as it says it is."""
    headers: dict[str, str] = field(default_factory=dict)
    met: int = 0


class Hub:
    """The server; `with Hub() as hub: hub.url`."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, str]] = []
        """Method, address and Range of every request."""
        self.xet = False
        self.stored = tempfile.TemporaryDirectory()
        """Where files that are sent to it lie, by their digest."""
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def storage(self) -> str:
        """Another host, to the client: it sends no token there."""
        return f"http://localhost:{self.server.server_address[1]}/storage"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.stored.cleanup()

    def add(
        self,
        kind: str,
        name: str,
        folder: Path,
        *,
        commit: str = "",
        refs: tuple[str, ...] = ("main",),
        gated: str = "",
    ) -> str:
        """Publish a folder as a revision of a repository; return the commit (the one asked for, or made of what it holds)."""
        files = {str(path.relative_to(folder)): File.of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        made = hashlib.sha1("".join(f"{key}{file.sha256}" for key, file in files.items()).encode()).hexdigest()
        repository = self.repositories.setdefault((kind, name), Repository(kind, name))
        repository.commits[commit or made] = files
        repository.refs |= dict.fromkeys(refs, commit or made)
        repository.gated = gated
        return commit or made

    def fault(self, method: str, pattern: str, *, times: int = 1, **about: object) -> Fault:
        """Let something go wrong with the next requests of a method whose address has `pattern` in it."""
        made = Fault(method, pattern, times, **about)  # type: ignore[arg-type]
        self.faults.append(made)
        return made

    def meet(self, method: str, address: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.pattern, address):
                    fault.times -= 1
                    fault.met += 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def do_POST(self) -> None:
        self.answer(True)

    def do_PUT(self) -> None:
        self.answer(True)

    def answer(self, body: bool) -> None:
        address = urllib.parse.unquote(self.path)
        self.form = b""
        if length := int(self.headers.get("Content-Length", 0)):
            self.form = self.rfile.read(length)
        self.hub.asked.append((self.command, address, self.headers.get("Range", "")))
        self.fault = self.hub.meet(self.command, address)
        self.with_body = body
        if self.fault and self.fault.status:
            return self.say(self.fault.status, {"error": "fault"}, self.fault.headers)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            path = self.path.partition("?")[0]
            if path == "/api/validate-yaml":
                return self.validate(json.loads(self.form))
            if path == "/api/repos/create":
                return self.create(json.loads(self.form))
            if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
                return self.batch(json.loads(self.form)["objects"])
            if self.command == "PUT":
                return self.store(path.rpartition("/")[2])
            if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(preupload|commit)/(.+)", path):
                return self.write(*found.groups())
            if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(.*))?", path):
                return self.api(found[1], urllib.parse.unquote(found[2]), found[3] or "")
            if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path):
                kind = "dataset" if found[1] else "model"
                return self.file(kind, urllib.parse.unquote(found[2]), *map(urllib.parse.unquote, found.group(3, 4)))
            if found := re.fullmatch(r"/storage/([0-9a-f]{64})", path):
                return self.storage(found[1])
            return self.say(200 if path == "/" else 404, {})
        return None

    def say(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(key, text)
        self.end_headers()
        if self.with_body:
            self.wfile.write(content)

    def refuse(self, status: int, code: str, text: str) -> None:
        self.say(status, {"error": text}, {"X-Error-Code": code, "X-Error-Message": text})

    def found(self, kind: str, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            self.refuse(401, "RepoNotFound", "Repository not found")
            return None
        if repository.gated and self.headers.get("Authorization") != "Bearer hf_let_in":
            status = 401 if repository.gated == "closed" else 403
            self.refuse(status, "GatedRepo", f"Access to {kind} {name} is restricted.")
            return None
        commit = repository.resolve(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def api(self, kind: str, name: str, rest: str) -> None:
        what, _, more = rest.partition("/")
        if what == "refs":
            refs = self.hub.repositories[kind, name].refs
            branches = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": c} for ref, c in refs.items()]
            return self.say(200, {"branches": branches, "converts": [], "tags": []})
        parts = more.split("/", 1)
        revision = urllib.parse.unquote(parts[0]) if what else "main"
        # Information is public, also of what is gated; files are not.
        repository = self.hub.repositories.get((kind, name))
        if what in ("", "revision") and repository is not None and (commit := repository.resolve(revision)):
            about = {"id": name, "sha": commit, "private": False, "gated": bool(repository.gated), "disabled": False}
            siblings = [{"rfilename": key} for key in repository.commits[commit]]
            return self.say(200, {**about, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})
        found = self.found(kind, name, revision)
        if found is None:
            return None
        repository, commit = found
        files = repository.commits[commit]
        if what == "paths-info":
            form = urllib.parse.parse_qs(self.form.decode())
            paths = form.get("paths") or json.loads(self.form or b"{}").get("paths", [])
            known = [self.entry(path, files[path]) for path in paths if path in files]
            folders = [p for p in paths if p not in files and any(key.startswith(f"{p}/") for key in files)]
            return self.say(
                200, [*known, *({"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in folders)]
            )
        if what == "tree":
            return self.tree(files, urllib.parse.unquote(parts[1]) if len(parts) > 1 else "")
        return self.refuse(404, "EntryNotFound", "no such address")

    def may_write(self, name: str) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == WRITER and name.startswith("me/"):
            return True
        if token == WRITER:
            self.refuse(403, "", f"Forbidden: you don't have the rights to write to {name}.")
        else:
            self.refuse(401, "", "Invalid username or password.")
        return False

    def validate(self, asked: dict[str, str]) -> None:
        """Check the front matter of a card: a mapping between two lines of dashes."""
        head = asked["content"].split("---\n")
        fine = len(head) > 2 and not head[0] and isinstance(yaml.safe_load(head[1]), dict)
        self.say(200 if fine else 400, {"errors": [] if fine else [{"message": "not a mapping"}], "warnings": []})

    def create(self, asked: dict[str, object]) -> None:
        """Make a repository: POST /api/repos/create {name, organization, type, private}."""
        owner, name = asked.get("organization") or "me", asked["name"]
        kind, whole = str(asked.get("type") or "model"), f"{owner}/{name}"
        if not self.may_write(whole):
            return None
        url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{whole}"
        if (kind, whole) in self.hub.repositories:
            return self.say(409, {"error": "You already created this repo", "url": url})
        self.hub.repositories[kind, whole] = Repository(kind, whole, {"main": "0" * 40}, {"0" * 40: {}})
        return self.say(200, {"url": url, "name": whole, "id": "1"})

    def write(self, kind: str, name: str, what: str, revision: str) -> None:
        """Say how each file is to be sent, or take a commit: lines of JSON with files, and digests of large ones."""
        if not self.may_write(name):
            return None
        if what == "preupload":
            large = {one["path"]: one["path"].endswith(_LARGE_NAMES) for one in json.loads(self.form)["files"]}
            ways = [
                {"path": path, "uploadMode": "lfs" if big else "regular", "shouldIgnore": False}
                for path, big in large.items()
            ]
            return self.say(200, {"files": ways, "commitOid": self.hub.repositories[kind, name].refs[revision]})
        repository = self.hub.repositories[kind, name]
        files = dict(repository.commits[repository.refs[revision]])
        for line in self.form.splitlines():
            about = json.loads(line)
            value = about["value"]
            if about["key"] == "file":
                content = base64.b64decode(value["content"])
                path = Path(self.hub.stored.name) / hashlib.sha256(content).hexdigest()
                path.write_bytes(content)
                files[value["path"]] = File.of(path)
            elif about["key"] == "lfsFile":
                files[value["path"]] = File.of(Path(self.hub.stored.name) / value["oid"])
        commit = hashlib.sha1("".join(f"{key}{file.sha256}" for key, file in files.items()).encode()).hexdigest()
        repository.commits[commit], repository.refs[revision] = files, commit
        return self.say(
            200, {"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit, "success": True}
        )

    def batch(self, objects: list[dict[str, object]]) -> None:
        """Say where large files are to be sent; those that are stored are not asked for again."""
        known = [one for one in objects if (Path(self.hub.stored.name) / str(one["oid"])).exists()]
        asked = [
            one if one in known else {**one, "actions": {"upload": {"href": f"{self.hub.storage}/{one['oid']}"}}}
            for one in objects
        ]
        self.say(200, {"transfer": "basic", "objects": asked})

    def store(self, sha256: str) -> None:
        """Take a large file, whose content has to be what its name says."""
        if hashlib.sha256(self.form).hexdigest() != sha256:
            return self.refuse(400, "", "the content is not that of the digest")
        (Path(self.hub.stored.name) / sha256).write_bytes(self.form)
        return self.say(200, {})

    def tree(self, files: dict[str, File], folder: str) -> None:
        query = urllib.parse.parse_qs(self.path.partition("?")[2])
        inside = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, object]] = {}
        for path, file in files.items():
            if not path.startswith(inside):
                continue
            steps = path.removeprefix(inside).split("/")
            deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            for depth in range(1, len(steps) if deep else min(2, len(steps))):
                name = inside + "/".join(steps[:depth])
                entries[name] = {
                    "type": "directory",
                    "oid": hashlib.sha1(name.encode()).hexdigest(),
                    "size": 0,
                    "path": name,
                }
            if deep or len(steps) == 1:
                entries[path] = self.entry(path, file)
        if folder and not entries:
            return self.refuse(404, "EntryNotFound", f"{folder} does not exist")
        start = int(query.get("cursor", ["0"])[0])
        listed = list(entries.values())
        headers = {}
        if len(listed) > start + _PAGE:
            rest = urllib.parse.urlencode({**{key: value[0] for key, value in query.items()}, "cursor": start + _PAGE})
            headers["Link"] = f'<{self.hub.url}{self.path.partition("?")[0]}?{rest}>; rel="next"'
        return self.say(200, listed[start : start + _PAGE], headers)

    @staticmethod
    def entry(path: str, file: File) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "oid": file.sha1, "size": file.size, "path": path}
        return {**entry, "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.large else entry

    def file(self, kind: str, name: str, revision: str, path: str) -> None:
        found = self.found(kind, name, revision)
        if found is None:
            return None
        repository, commit = found
        file = repository.commits[commit].get(path)
        if file is None:
            content = {"X-Repo-Commit": commit, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self.say(404, {"error": "Entry not found"}, content)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not file.large:
            return self.send(file, {**headers, "ETag": f'"{file.sha1}"'})
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        if self.hub.xet:
            refresh = f"{self.hub.url}/api/{kind}s/{name}/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": file.sha256, "Link": f'<{refresh}>; rel="xet-auth"'}
        return self.say(302, {}, {**headers, "Location": f"{self.hub.storage}/{file.sha256}?signature=x"})

    def storage(self, sha256: str) -> None:
        if self.headers.get("Authorization"):
            return self.refuse(400, "", "A token of the hub was sent to another host.")
        every = (
            file
            for repo in self.hub.repositories.values()
            for files in repo.commits.values()
            for file in files.values()
        )
        file = next((file for file in every if file.sha256 == sha256), None)
        return self.refuse(403, "", "AccessDenied") if file is None else self.send(file, {"ETag": f'"{sha256[:32]}"'})

    def send(self, file: File, headers: dict[str, str]) -> None:
        size = file.size
        start, end = 0, size
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(size, int(wanted[2]) + 1) if wanted[2] else size
            if start >= size:
                return self.say(416, {}, {"Content-Range": f"bytes */{size}"})
            headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        self.send_response(206 if wanted else 200)
        for key, text in {**headers, "Content-Length": str(end - start), "Accept-Ranges": "bytes"}.items():
            self.send_header(key, text)
        self.end_headers()
        if not self.with_body:
            return None
        fault = self.fault or Fault("", "", 0)
        left = end - start
        if fault.reset_after >= 0:
            left = min(left, fault.reset_after)
        if fault.truncate:
            left //= 2
        with open(file.path, "rb") as handle:
            handle.seek(start)
            for part in _parts(handle, left):
                self.wfile.write(bytes([part[0] ^ 1]) + part[1:] if fault.flip else part)
                fault.flip = False
        if fault.reset_after >= 0:
            # Not the orderly end: the client's next read fails with "connection reset by peer".
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        if fault.truncate:
            self.close_connection = True
        return None


def _parts(handle: object, left: int) -> Iterator[bytes]:
    while left > 0 and (part := handle.read(min(left, 1 << 20))):  # type: ignore[attr-defined]
        left -= len(part)
        yield part
