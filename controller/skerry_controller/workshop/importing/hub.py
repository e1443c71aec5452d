"""Repositories of a model hub, through ``huggingface_hub``: its endpoint, its tokens, its errors.

The bytes themselves come by our own download: that of the library starts over after a kill, since its
temporary files are named by chance (docs/decisions/0037).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from skerry_controller.errors import NotFoundError, PeerError, UsageError, WorldError
from skerry_controller.workshop.importing.errors import GatedError
from skerry_controller.workshop.importing.naming import quantization_in, stem_of
from skerry_controller.workshop.importing.offer import Digest, Headers, Offer, RemoteFile
from skerry_controller.workshop.importing.shards import whole_sets
from skerry_controller.workshop.importing.sources import HubSource
from skerry_controller.workshop.library import Licence

if TYPE_CHECKING:
    from huggingface_hub import HfApi

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
_CHECKPOINT_SUFFIXES: Final = (".safetensors", ".json", ".model", ".txt", ".jinja", ".md")
_TIMEOUT_S: Final = 20.0
_SHOWN_FILES: Final = 12
_BESIDE_THE_MODEL: Final = ("mmproj", "imatrix")


def hub_endpoint() -> str:
    """The hub that is asked: ``HF_ENDPOINT``, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


@contextmanager
def hub_api() -> Iterator["HfApi"]:
    """The hub's client, with the endpoint and token that the environment gives now.

    Raises:
        UsageError: ``huggingface_hub`` is not installed.
        ControllerError: What the block was told by the hub, in a person's words.
    """
    try:
        from huggingface_hub import HfApi, close_session, get_session  # noqa: PLC0415 - heavy, and only here
        from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415 - the same
    except ImportError as error:
        raise UsageError(
            "the hub's client is not installed: install 'skerry[workshop]', or import a file"
        ) from error
    disable_progress_bars()
    try:
        with _explained():
            get_session().timeout = _TIMEOUT_S  # it would wait without end
            yield HfApi(endpoint=hub_endpoint(), token=os.environ.get("HF_TOKEN") or None)
    finally:
        close_session()


def offer_hub(source: HubSource) -> Offer:
    """The file of a repository that is meant, or its checkpoint when it has no GGUF file.

    Raises:
        NotFoundError: There is no such repository, revision or file.
        UsageError: It has several models and none was chosen; lists them.
        GatedError: Its owner wants something first; says what to do.
        WorldError: The hub is out of reach.
    """
    with hub_api() as api:
        info = api.model_info(
            source.repository, revision=source.revision, files_metadata=True, timeout=_TIMEOUT_S
        )
        siblings = list(info.siblings or [])
        chosen, checkpoint = _choose(source, siblings)
        if info.gated:
            api.auth_check(source.repository)  # such a one tells of its files to all, and gives them to few
        headers = _authorization()
        files = tuple(_remote(api, source.repository, str(info.sha), each, headers) for each in chosen)
    name = chosen[0].rfilename
    return Offer(
        files=files,
        stem=source.repository.partition("/")[2] if checkpoint else stem_of(name),
        revision=info.sha,
        licence=hub_licence(info),
        hints=(source.repository, name),
        checkpoint=checkpoint,
    )


def gguf_sets(siblings: Sequence[Any]) -> list[list[Any]]:
    """A repository's GGUF models, each as its parts; what stands beside models is left out.

    Raises:
        PeerError: A part is missing.
    """
    files = [
        each
        for each in siblings
        if each.rfilename.lower().endswith(".gguf")
        and not any(word in each.rfilename.lower() for word in _BESIDE_THE_MODEL)
    ]
    folders: dict[str, list[Any]] = {}
    for each in files:
        folders.setdefault(str(PurePosixPath(each.rfilename).parent), []).append(each)
    return [
        model
        for inside in folders.values()
        for model in whole_sets(inside, lambda each: PurePosixPath(each.rfilename).name)
    ]


def _choose(source: HubSource, siblings: list[Any]) -> tuple[list[Any], bool]:
    models = gguf_sets(siblings)
    if source.file is not None:
        wanted = [model for model in models if _is_meant(source.file, [each.rfilename for each in model])]
        if len(wanted) == 1:
            return wanted[0], False
        what = "no model" if not wanted else f"{len(wanted)} models"
        raise NotFoundError(f"{source.repository} has {what} {source.file!r}: {_listed(models)}")
    if len(models) == 1:
        return models[0], False
    if models:
        first = models[0][0].rfilename
        raise UsageError(
            f"{source.repository} has {len(models)} models, say which, as in hf:{source.repository}:{first}: "
            f"{_listed(models)}"
        )
    names = {each.rfilename for each in siblings}
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        files = [each for each in siblings if _is_of_checkpoint(each.rfilename)]
        return files, True
    raise PeerError(f"{source.repository} has neither a GGUF file nor a safetensors checkpoint")


def _is_of_checkpoint(name: str) -> bool:
    return "/" not in name and not name.startswith(".") and name.endswith(_CHECKPOINT_SUFFIXES)


def _is_meant(wanted: str, names: Sequence[str]) -> bool:
    return wanted in names or wanted.upper() == quantization_in(names[0])


def _listed(models: Sequence[Sequence[Any]]) -> str:
    names = [f"{each[0].rfilename} ({_mib(each)} MiB)" for each in models]
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return (", ".join(names[:_SHOWN_FILES]) or "it has no GGUF file") + more


def _mib(model: Sequence[Any]) -> int:
    return round(sum(each.size or 0 for each in model) / 2**20)


def _remote(api: "HfApi", repository: str, commit: str, sibling: Any, headers: Headers) -> RemoteFile:
    from huggingface_hub import hf_hub_url  # noqa: PLC0415 - heavy, and only here

    name = sibling.rfilename
    lfs = sibling.lfs
    return RemoteFile(
        name=PurePosixPath(name).name,
        url=hf_hub_url(repository, name, revision=commit, endpoint=api.endpoint),
        length=sibling.size,
        digest=Digest("sha256", lfs.sha256) if lfs is not None else None,
        headers=lambda _, extra: {**extra, **headers},
    )


def _authorization() -> Headers:
    from huggingface_hub import get_token  # noqa: PLC0415 - heavy, and only here

    token = os.environ.get("HF_TOKEN") or get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def hub_licence(info: Any) -> Licence | None:
    """As the model card states it, else its tags."""
    card = info.card_data
    stated = card.get("license") if card is not None else None
    if not isinstance(stated, str):
        tag = next((each for each in info.tags or [] if each.startswith("license:")), None)
        stated = tag.partition(":")[2] if tag else None
    if stated is None:
        return None
    named = card.get("license_name") if card is not None and stated == "other" else None
    link = card.get("license_link") if card is not None else None
    return Licence(id=str(named or stated), link=str(link) if link else None, source="hub")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors of ``huggingface_hub`` into ours."""
    import httpx  # noqa: PLC0415 - heavy, and only here
    from huggingface_hub import errors  # noqa: PLC0415 - the same

    endpoint = hub_endpoint()
    try:
        yield
    except errors.GatedRepoError as error:
        raise GatedError(_gated_words(endpoint, error)) from error
    except errors.RevisionNotFoundError as error:
        raise NotFoundError(f"{endpoint} has no such revision of it: check the spelling") from error
    except errors.RepositoryNotFoundError as error:
        raise NotFoundError(
            f"{endpoint} has no such repository, or it is private: check the spelling; for a private one set "
            "HF_TOKEN, or HF_TOKEN_PATH to a file with it"
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"that is no name of a repository: {error}") from error
    except errors.HfHubHTTPError as error:
        raise WorldError(f"{endpoint} refused: {' '.join(str(error).split())}") from error
    except (errors.OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise WorldError(
            f"no hub can be reached at {endpoint} ({_short(error)}): check the network, set HF_ENDPOINT to "
            "another hub, or import from a file, a web address, a bucket or a registry"
        ) from error


def _gated_words(endpoint: str, error: Any) -> str:
    repository = getattr(error, "repo_id", None) or "the repository"
    have = "with the token that is set" if _authorization() else "without a token"
    return (
        f"{repository} is gated, and its files are refused {have}: open {endpoint}/{repository} in a "
        "browser, accept its terms, make a token there that may read it, and set HF_TOKEN to it"
    )


def _short(error: BaseException) -> str:
    return str(error.__cause__ or error) or type(error).__name__
