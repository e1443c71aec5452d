from typing import Annotated

import typer

from skerry_controller.cli.options import Keys

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def login(
    token: Annotated[
        str | None,
        typer.Argument(
            help="'-' reads the token from stdin, '@FILE' from a file; else SKERRY_TOKEN or a prompt."
        ),
    ] = None,
    url: Annotated[str, typer.Option(help="The operator API.")] = "http://127.0.0.1:8600",
    keys: Keys = None,
) -> None:
    """Remember a controller's address and your token; with --keys also the keyring and its pinned root."""
    import asyncio  # noqa: PLC0415 - heavy imports belong to the command that runs

    from skerry_controller.cli.client import ControllerClient, over_http  # noqa: PLC0415 - the same
    from skerry_controller.cli.profile import Profile, save_profile  # noqa: PLC0415 - the same
    from skerry_controller.cli.secret_input import TOKEN_VARIABLE, read_secret  # noqa: PLC0415 - the same
    from skerry_controller.keyring import Keyring  # noqa: PLC0415 - the same

    secret = read_secret(token, TOKEN_VARIABLE, "Administrator's token")
    root = None if keys is None else Keyring.open(keys, "").pinned_root_sha256()

    async def check() -> None:
        async with over_http(url, secret) as http:
            await ControllerClient(http).get("/repository")

    asyncio.run(check())
    profile = Profile(
        url=url, token=secret, keys=None if keys is None else str(keys.absolute()), root_sha256=root
    )
    typer.echo(f"logged in to {url}; saved in {save_profile(profile)}")
