from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from skerry_controller.cli.options import AsJson, Data, Keys

app = typer.Typer(
    help="Signed models and config bundles.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME@VERSION")]


@app.command()
def add(
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(help="A GGUF model or LoRA adapter, or a TOML or JSON file with settings."),
    ] = None,
    *,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SELECTOR=FILE",
            help="A model for the devices that the selector matches, such as arch=aarch64=small.gguf; may be "
            "repeated, the first match wins. FILE is for all others.",
        ),
    ] = None,
    kind: Annotated[Literal["model", "adapter", "config"], typer.Option(help="What the file is.")] = "model",
    acceptance: Annotated[
        Path | None, typer.Option(help="TOML or JSON with the checks that a model must pass on each device.")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Licence, instead of the one that the model file states.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME@VERSION",
            help="Of an adapter: the published model that it was made for. Of a model: also offer a delta "
            "from this version, as 'delta' does.",
        ),
    ] = None,
    keys: Keys = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Check, describe, sign and publish a file. Signing happens here, with the keyring."""
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - heavy, and only here

    ref = ArtifactRef.parse(name)
    base_ref = None if base is None else ArtifactRef.parse(base)
    from skerry_controller.cli.adding import OperatorKeys, Request, add_file, variant_files  # noqa: PLC0415 - the same, a mistyped name needs none
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    request = Request(
        ref=ref,
        kind=kind,
        acceptance=acceptance,
        license_id=license_id,
        base=base_ref,
        **variant_files(file, variant or []),
    )
    operator_keys = OperatorKeys(keys)
    result = add_file(request, operator_keys, data)
    offers_delta = base_ref is not None and kind == "model"
    if base_ref is not None and offers_delta:
        from skerry_controller.cli.deltas import DeltaRequest, add_delta, describe  # noqa: PLC0415 - the same

        result["delta"] = add_delta(
            DeltaRequest(ref=ref, base=base_ref, file=request.file), operator_keys, data
        )
    if as_json:
        print_json(result)
    elif result["outcome"] == "unchanged":
        print_line(f"{name} is published already, with these very bytes")
    else:
        print_line(f"{name} is signed and published as {result['target_path']}")
    if offers_delta and not as_json:
        print_line(describe(result["delta"]))


@app.command()
def delta(
    name: Name,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME@VERSION",
            help="The version that devices have; without it, chunks are only compressed, for every device.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The artifact's file, if it is here; else it is read back.")
    ] = None,
    base_file: Annotated[
        Path | None, typer.Option(help="The base's file, if it is here; else it is read back.")
    ] = None,
    keys: Keys = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a published version cheaper to fetch for devices that hold another one."""
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - heavy, and only here

    ref = ArtifactRef.parse(name)
    base_ref = None if base is None else ArtifactRef.parse(base)
    from skerry_controller.cli.adding import OperatorKeys  # noqa: PLC0415 - the same
    from skerry_controller.cli.deltas import DeltaRequest, add_delta, describe  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    request = DeltaRequest(ref=ref, base=base_ref, file=file, base_file=base_file)
    result = add_delta(request, OperatorKeys(keys), data)
    if as_json:
        print_json(result)
    else:
        print_line(describe(result))


@app.command("list")
def list_artifacts(data: Data = None, as_json: AsJson = False) -> None:
    """List what is published."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_bytes, format_time, print_json, print_table  # noqa: PLC0415 - the same

    artifacts = work(data, lambda client: client.get("/artifacts"))
    if as_json:
        print_json(artifacts)
        return
    rows = [
        (
            f"{a['name']}@{a['version']}",
            a["kind"],
            format_bytes(a["file_length"] or a["target_length"]),
            a["description"].get("quantization"),
            a["license"],
            format_time(a["published_at"]),
        )
        for a in artifacts
    ]
    columns = ("ARTIFACT", "KIND", "SIZE", "QUANTIZATION", "LICENCE", "PUBLISHED")
    print_table(columns, rows, empty="nothing is published: 'skerry artifact add' does")


@app.command()
def show(name: Name, data: Data = None, as_json: AsJson = False) -> None:
    """Show one artifact: its description and what it must show on a device."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import (  # noqa: PLC0415 - the same
        format_bytes,
        format_time,
        print_json,
        print_line,
        print_table,
    )

    found: dict[str, Any] = work(data, lambda client: client.get(_path(name)))
    if as_json:
        print_json(found)
        return
    rows: list[tuple[object, object]] = [
        ("artifact", f"{found['name']}@{found['version']}"),
        ("kind", found["kind"]),
        ("target", found["target_path"]),
        ("target sha256", found["target_sha256"]),
    ]
    several = len(found["files"]) > 1
    for file in found["files"]:
        whose = f"file for {file['selector'] or 'all others'}" if several else "file"
        rows += [(whose, format_bytes(file["length"])), (f"{whose}: sha256", file["sha256"])]
    if found["files"]:
        rows.append(("chunks", found["chunk_count"]))
    rows += [
        (
            f"delta from {', '.join(delta['bases']) or delta['base_sha256'] or 'nothing'}",
            f"{delta['pieces']} chunks from {format_bytes(delta['pack_length'])}",
        )
        for delta in found["deltas"]
    ]
    rows += [("licence", found["license"]), ("published", format_time(found["published_at"]))]
    card = found["description"].pop("card", None)
    rows += [(key.replace("_", " "), value) for key, value in found["description"].items()]
    print_table(("", ""), rows, empty="")
    if card:
        print_line(f"\n{card.rstrip()}")


@app.command()
def verify(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="Also check that this is the artifact's file.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Check the controller's stored bytes against what was signed."""
    from skerry_controller.cli.adding import verify_artifact  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    results = verify_artifact(_path(name), file, data)
    if as_json:
        print_json(results)
    else:
        for result in results:
            print_line(f"{'ok    ' if result['ok'] else 'FAILED'}  {result['name']}: {result['message']}")
    if not all(result["ok"] for result in results):
        raise typer.Exit(1)


@app.command()
def export(
    name: Name,
    *,
    output: Annotated[Path, typer.Option(help="The folder to make, on the stick.")],
    base: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME@VERSION", help="What the devices have already; may be given again."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME@VERSION", help="Carry this too; may be given again."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="Carry this device's desired state; may be given again."),
    ] = None,
    selector: Annotated[
        str | None, typer.Option(help="The same for all devices with these labels: k=v,k2!=v.")
    ] = None,
    valid: Annotated[str, typer.Option(help="How long it counts: 12h, 30d.")] = "30d",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write a bundle for devices without a network: 'skerry-agent import' takes it in there."""
    from skerry_controller.cli.durations import parse_duration  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.exporting import export_bundle  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import format_bytes, print_json, print_line, print_note  # noqa: PLC0415 - the same
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - the same

    refs = [str(ArtifactRef.parse(ref)) for ref in (name, *(also or ()))]
    request = {
        "artifacts": refs,
        "base": [str(ArtifactRef.parse(ref)) for ref in base or ()],
        "devices": device or [],
        "selector": selector,
        "valid_s": parse_duration(valid),
    }
    made = export_bundle(request, output.absolute(), data)
    if as_json:
        print_json(made)
        return
    for note in made["notes"]:
        print_note(note)
    states = f"for {len(made['devices'])} devices" if made["devices"] else "without desired states"
    deltas = f", {len(made['deltas'])} of them as a delta" if made["deltas"] else ""
    print_line(f"{output}: {', '.join(refs)} {states}, {format_bytes(made['bytes'])}{deltas}")
    print_line("at the device: skerry-agent import " + output.name)


@app.command()
def remove(name: Name, data: Data = None) -> None:
    """Delete the file of an artifact that nothing uses. Its name and version stay taken."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    work(data, lambda client: client.delete(_path(name)))
    typer.echo(f"{name} is removed; its name and version stay taken")


def _path(name: str) -> str:
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - heavy, and only here

    ref = ArtifactRef.parse(name)
    return f"/artifacts/{ref.name}/{ref.version}"
