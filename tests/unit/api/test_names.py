import pytest

from skerry_agent.api.names import canonical_name, ollama_name


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("smol", "smol"),
        ("smol:latest", "smol"),
        ("smol:2", "smol@2"),
        ("smol@2", "smol@2"),
        ("smol:q4_K_M", "smol@q4_K_M"),
        ("local/mine:1", "local/mine@1"),
        ("local/mine:latest", "local/mine"),
        ("assistant/stable", "assistant/stable"),
        ("assistant/stable:latest", "assistant/stable"),
        ("smol@2:latest", "smol@2:latest"),
        (" smol ", "smol"),
        ("host:5000/smol", "host:5000/smol"),
        ("", ""),
        (":", "@"),
    ],
)
def test_a_tag_is_a_version_and_latest_is_none(asked: str, canonical: str) -> None:
    assert canonical_name(asked) == canonical


@pytest.mark.parametrize("name", ["smol@2", "smol", "local/mine@1.0", "assistant/stable"])
def test_ollamas_form_of_a_name_leads_back_to_it(name: str) -> None:
    assert canonical_name(ollama_name(name)) == name
