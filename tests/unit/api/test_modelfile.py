import pytest

from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.ollama.modelfile import read_modelfile, write_modelfile
from skerry_agent.api.presets import Preset, PresetMessage


def test_what_a_preset_can_hold_is_read() -> None:
    found = read_modelfile(
        '# mine\nFROM llama3\nPARAMETER temperature 0.5\nPARAMETER stop AI:\nparameter stop "user:"\n'
        'PARAMETER num_ctx 4096\nSYSTEM """\nYou are\nMario.\n"""\nMESSAGE user hi\nLICENSE MIT\n'
    )
    assert found.base == "llama3"
    assert found.parameters == {"temperature": 0.5, "stop": ["AI:", "user:"], "num_ctx": 4096}
    assert found.system == "\nYou are\nMario.\n"
    assert found.messages == [PresetMessage("user", "hi")]
    assert found.license == ["MIT"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SYSTEM x",
        "FROM x\nADAPTER y",
        "FROM x\nTEMPLATE y",
        'FROM x\nSYSTEM """no end',
        "FROM x\nPARAMETER temperature",
        "FROM",
        "what is this",
        "\x00",
    ],
)
def test_what_it_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="modelfile"):
        read_modelfile(text)


def test_a_written_modelfile_says_the_same_when_read() -> None:
    preset = Preset(
        "mario", "smol", system="You are\nMario.", parameters={"stop": ["a", "b"], "temperature": 0.1}
    )
    found = read_modelfile(write_modelfile("smol:2", preset, ""))
    assert (found.base, found.system, found.parameters) == ("smol:2", preset.system, dict(preset.parameters))
