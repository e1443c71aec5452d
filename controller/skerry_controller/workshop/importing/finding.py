"""Looks around on a model hub: which GGUF files there are, how big, of what class, under which licence."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.workshop.importing.hub import gguf_sets, hub_api, hub_licence
from skerry_controller.workshop.importing.naming import quantization_in
from skerry_controller.workshop.library.families import family_in_name, family_of
from skerry_controller.workshop.library.filters import EntryFilter, Facts, parse_count
from skerry_controller.workshop.progress import Progress, StopSign, silent
from skerry_protocol.model_description import ParameterClass, parameter_class

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Sort = Literal["downloads", "likes", "trending_score", "last_modified", "created_at"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)

_SCANNED_PER_SHOWN: Final = 10
"""So many repositories are looked at, at most, for each that is wanted."""
_EXPAND: Final = ("cardData", "downloads", "gated", "gguf", "lastModified", "likes", "pipeline_tag", "tags")
_IN_NAME: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?[BM])(?![\w])", re.IGNORECASE)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a person looks for.

    Attributes:
        text: Words in the repository's name.
        wanted: What its models must be like.
        task: As hubs name tasks: ``text-generation``.
        sort: By what the hub sorts, the largest first.
        limit: So many repositories at most.
    """

    text: str
    wanted: EntryFilter = EntryFilter()
    task: str | None = None
    sort: Sort = "downloads"
    limit: int = 10


def check_sort(text: str) -> Sort:
    """What a person wants to sort by.

    Raises:
        UsageError: No hub sorts by that.
    """
    for sort in SORTS:
        if sort == text:
            return sort
    raise UsageError(f"{text!r} is nothing to sort by: say {', '.join(SORTS)}")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a repository.

    Attributes:
        source: What ``skerry model import`` takes.
        repository: ``OWNER/REPO``.
        files: Its file, or its parts.
        length: Bytes of all of them; None when the hub does not tell.
        quantization: By the file's name.
        parameters: As the hub counted them, else by the repository's name.
        context_length: Trained context in tokens.
        gated: Whether its owner wants something first.
    """

    source: str
    repository: str
    files: tuple[str, ...]
    length: int | None
    quantization: str | None
    parameters: int | None
    size_class: ParameterClass | None
    family: str | None
    license: str | None
    context_length: int | None
    task: str | None
    downloads: int | None
    likes: int | None
    gated: bool


def find_models(
    question: Question, *, progress: Progress = silent, stop: StopSign | None = None
) -> list[Found]:
    """The models of a hub that are wanted, in the hub's order.

    Raises:
        WorldError: No hub can be reached.
        StoppedError: Somebody asked.
        UsageError: ``huggingface_hub`` is not installed.
    """
    stop = stop or StopSign()
    found: list[Found] = []
    with hub_api() as api:
        shown = 0
        for info in _search(api, question):
            stop.check()
            progress(f"asking the hub for {question.text!r}", shown, question.limit)
            models = _models(api, info, question.wanted)
            found += models
            shown += bool(models)
            if shown == question.limit:
                break
    return found


def _search(api: "HfApi", question: Question) -> Iterator[Any]:
    tags = ["gguf"]
    if question.wanted.license is not None:
        tags.append(f"license:{question.wanted.license.lower()}")
    return iter(
        api.list_models(
            search=question.text or None,
            filter=tags,
            pipeline_tag=question.task,
            sort=question.sort,
            limit=question.limit * _SCANNED_PER_SHOWN,
            expand=list(_EXPAND),
        )
    )


def _models(api: "HfApi", listed: Any, wanted: EntryFilter) -> list[Found]:
    """Those of one repository; it is asked for its files only when its models may be wanted."""
    facts = _facts(listed)
    if not msgspec.structs.replace(wanted, quantization=None).matches_facts(facts):
        return []
    info = api.model_info(listed.id, files_metadata=True)
    try:
        sets = gguf_sets(info.siblings or [])
    except PeerError:  # a part is missing: nothing that could be imported
        return []
    found = [_found(listed, facts, model) for model in sets]
    return [
        each
        for each in found
        if wanted.quantization is None or (each.quantization or "").lower() == wanted.quantization.lower()
    ]


def _facts(info: Any) -> Facts:
    told = info.gguf or {}
    licence = hub_licence(info)
    named = _IN_NAME.search(info.id.partition("/")[2].replace("-", " ").replace("_", " "))
    counted = told.get("total")
    context = told.get("context_length")
    architecture = told.get("architecture")
    if architecture:
        family = family_of({"general.architecture": architecture, "general.name": info.id})
    else:
        family = family_in_name(info.id.partition("/")[2])
    return Facts(
        parameters=counted if isinstance(counted, int) else parse_count(named[1]) if named else None,
        family=family,
        license=licence.id if licence else None,
        context=context if isinstance(context, int) else None,
    )


def _found(info: Any, facts: Facts, model: list[Any]) -> Found:
    names = tuple(each.rfilename for each in model)
    sizes = [each.size for each in model]
    return Found(
        source=f"hf:{info.id}:{names[0]}",
        repository=info.id,
        files=names,
        length=None if None in sizes else sum(sizes),
        quantization=quantization_in(PurePosixPath(names[0]).name),
        parameters=facts.parameters,
        size_class=None if facts.parameters is None else parameter_class(facts.parameters),
        family=facts.family,
        license=facts.license,
        context_length=facts.context,
        task=info.pipeline_tag,
        downloads=info.downloads,
        likes=info.likes,
        gated=bool(info.gated),
    )
