"""A model hub that speaks as much of Hugging Face's HTTP API as the real ``huggingface_hub`` client asks for.

Sources: what ``huggingface_hub`` 1.x sends and reads (``hf_api.py``, ``file_download.py``, ``_http.py``).
Large files are answered by a redirect to another host, as on the real one: 127.0.0.1 sends to localhost.
"""

import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.web_files import FileHandler, FileServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE_BYTES = 10_000
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?(/auth-check)?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class HubRepository:
    """One repository."""

    files: dict[str, bytes]
    license: str | None = "apache-2.0"
    tags: tuple[str, ...] = ("gguf", "text-generation")
    pipeline_tag: str = "text-generation"
    downloads: int = 0
    likes: int = 0
    gated: str | bool = False
    private: bool = False
    gguf: dict[str, Any] = field(default_factory=dict)
    readers: tuple[str, ...] = ()

    def readable(self, token: str | None) -> bool:
        """Whether its files are given to who sends this token."""
        return not (self.gated or self.private) or token in self.readers


class ModelHub(FileServer):
    """The hub. ``repositories`` by ``OWNER/REPO``; a page of a listing has ``page`` of them."""

    def __init__(self, repositories: Mapping[str, HubRepository] | None = None, *, page: int = 2) -> None:
        super().__init__(_HubHandler)
        self.repositories = dict(repositories or {})
        self.page = page


class _HubHandler(FileHandler):
    server: ModelHub

    def answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(parts.path)
        if path == "/api/models":
            self._list(urllib.parse.parse_qs(parts.query))
        elif match := _API.fullmatch(path):
            self._about(match[1], match[2], access_only=bool(match[3]))
        elif match := _RESOLVE.fullmatch(path):
            self._resolve(match[1], match[2], match[3])
        elif path.startswith("/cdn/"):
            self._cdn(path.removeprefix("/cdn/"))
        else:
            self.refuse(404)

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _list(self, query: dict[str, list[str]]) -> None:
        words = " ".join(query.get("search", [])).lower().split()
        found = [
            self._described(name, repository)
            for name, repository in self.server.repositories.items()
            if not repository.private
            and all(word in name.lower() for word in words)
            and all(wanted in self._tags(repository) for wanted in query.get("filter", []))
            and query.get("pipeline_tag", [repository.pipeline_tag])[0] == repository.pipeline_tag
        ]
        key = query.get("sort", ["downloads"])[0]
        found.sort(key=lambda each: each.get(key, 0), reverse=True)
        start = int(query.get("cursor", ["0"])[0])
        end = start + min(self.server.page, int(query.get("limit", ["100"])[0]))
        headers = {}
        if end < len(found):
            next_page = urllib.parse.urlencode({**query, "cursor": end}, doseq=True)
            headers["Link"] = f'<{self.server.url}/api/models?{next_page}>; rel="next"'
        self._json(found[start:end], headers)

    def _about(self, name: str, revision: str | None, *, access_only: bool) -> None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not repository.readable(self._token())):
            self.refuse(401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", COMMIT):
            self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        elif access_only and not repository.readable(self._token()):
            self.refuse(403, {"X-Error-Code": "GatedRepo"})
        else:
            self._json(self._described(name, repository))

    def _tags(self, repository: HubRepository) -> list[str]:
        licence = [f"license:{repository.license}"] if repository.license else []
        return [*repository.tags, *licence]

    def _described(self, name: str, repository: HubRepository) -> dict[str, Any]:
        siblings = []
        for file, content in repository.files.items():
            sibling: dict[str, Any] = {"rfilename": file, "size": len(content), "blobId": "0" * 40}
            if len(content) >= _LARGE_BYTES:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return {
            "_id": "0" * 24,
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "private": repository.private,
            "gated": repository.gated,
            "downloads": repository.downloads,
            "likes": repository.likes,
            "pipeline_tag": repository.pipeline_tag,
            "tags": self._tags(repository),
            "cardData": {"license": repository.license} if repository.license else {},
            "gguf": repository.gguf,
            "siblings": siblings,
        }

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self.refuse(401, {"X-Error-Code": "RepoNotFound"})
        elif not repository.readable(self._token()):
            self.refuse(403, {"X-Error-Code": "GatedRepo"})
        elif file not in repository.files or revision not in ("main", COMMIT):
            self.refuse(404, {"X-Error-Code": "EntryNotFound"})
        elif len(repository.files[file]) >= _LARGE_BYTES:
            place = f"http://localhost:{self.server.server_port}/cdn/{name}/{file}"
            self.refuse(302, {"Location": place, "X-Repo-Commit": COMMIT})
        else:
            self.send_file(repository.files[file], {"ETag": '"small"', "X-Repo-Commit": COMMIT})

    def _cdn(self, path: str) -> None:
        owner, name, file = path.split("/", 2)
        self.send_file(self.server.repositories[f"{owner}/{name}"].files[file], {"ETag": '"large"'})

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        self.refuse(200, {**(headers or {}), "Content-Type": "application/json"}, json.dumps(value).encode())
