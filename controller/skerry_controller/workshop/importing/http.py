"""Files on a web server, named by their URL."""

from urllib.parse import unquote, urlsplit, urlunsplit

from skerry_controller.workshop.importing.naming import stem_of
from skerry_controller.workshop.importing.offer import Offer, RemoteFile
from skerry_controller.workshop.importing.shards import shard_names
from skerry_controller.workshop.importing.sources import HttpSource


def offer_http(source: HttpSource) -> Offer:
    """What a URL names: a file, or all parts of the model that it is a part of."""
    parts = urlsplit(source.url)
    folder, _, last = parts.path.rpartition("/")
    name = unquote(last)
    names = shard_names(last) or [last]
    files = [
        RemoteFile(
            name=_safe(unquote(each)),
            url=urlunsplit((parts.scheme, parts.netloc, f"{folder}/{each}", parts.query, "")),
            advice="check the address, and whether it is still valid and open to all",
        )
        for each in names
    ]
    return Offer(files=tuple(files), stem=stem_of(name), hints=(name,))


def _safe(name: str) -> str:
    return name.replace("/", "_").replace("\0", "_").lstrip(".")[:200] or "model.gguf"
