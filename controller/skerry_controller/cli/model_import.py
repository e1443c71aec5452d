from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry_controller.cli.model_frame import AsJson, Controller, Data

if TYPE_CHECKING:
    from skerry_controller.cli.model_frame import Work

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="import")
def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file, a folder, http(s)://…, s3://BUCKET/KEY, hf:OWNER/REPO[:FILE], "
            "oci:REGISTRY/REPO:TAG or ollama:NAME[:TAG].",
        ),
    ],
    *,
    ref: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME@VERSION",
            help="Its name in the library; else one is made of the file's name and quantization.",
        ),
    ] = None,
    license_id: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="Its licence, instead of what the source states."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the file must hash to, when you know it.")
    ] = None,
    data: Data = None,
    controller: Controller = None,
    as_json: AsJson = False,
) -> None:
    """Bring a model into the library: fetched, checked against its digest, loaded once by llama.cpp.

    hf: asks the hub of HF_ENDPOINT with HF_TOKEN; FILE may be a quantization, as in hf:OWNER/REPO:Q4_K_M.
    s3: reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL. oci: and ollama: use
    the logins that 'docker login' keeps.

    A model in parts (…-00001-of-00003.gguf) is named by any of them; the parts are joined. What was stopped,
    or killed, goes on where it was when the same command is given again.
    """
    from skerry_controller.cli.model_frame import long_work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.model_remote import import_there  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same

    with long_work() as work:
        if controller is None:
            made = _into_folder(source, ref, license_id, sha256, data, work)
        else:
            body = {"kind": "import", "source": source, "ref": ref, "license": license_id, "sha256": sha256}
            made = import_there(controller, body, work)
    if as_json:
        print_json(made)
    else:
        _tell(made)


def _into_folder(
    source: str, ref: str | None, license_id: str | None, sha256: str | None, data: Path | None, work: "Work"
) -> dict[str, Any]:
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_note  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import Wish, parse_source  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import import_model as fetch  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import entry_view  # noqa: PLC0415 - the same
    from skerry_protocol.names import ArtifactRef, check_sha256  # noqa: PLC0415 - the same

    wish = Wish(
        source=parse_source(source),
        ref=None if ref is None else ArtifactRef.parse(ref),
        licence=license_id,
        sha256=None if sha256 is None else check_sha256(sha256.lower()),
    )
    with opened_library(data) as library:
        return entry_view(fetch(library, wish, progress=work.progress, stop=work.stop, tell=print_note))


def _tell(made: dict[str, Any]) -> None:
    from skerry_controller.cli.output import print_line, print_note  # noqa: PLC0415 - heavy, and only here

    family = f"{made['family']}, " if made["family"] else ""
    print_line(
        f"{made['ref']} is in the library: {family}{made['size_class']}, {made['quantization']}, "
        f"licence {made['license'] or 'not stated'}"
    )
    for note in made.get("notes", ()):
        print_note(f"note: {note}")
    print_line(f"next: skerry model show {made['ref']}")
