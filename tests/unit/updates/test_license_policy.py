import pytest

from skerry_agent.updates.license_policy import LicensePolicy

OPEN = LicensePolicy(allowed=("Apache-2.0", "MIT", "CC-BY-?.0"), refused=("CC-BY-NC-*",))


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ("Apache-2.0", True),
        ("apache-2.0", True),
        ("CC-BY-4.0", True),
        ("gemma", False),
        (None, False),
        ("MIT OR gemma", True),
        ("MIT AND gemma", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("(MIT OR gemma) AND Apache-2.0", False),
        ("", False),
    ],
)
def test_a_licence_must_match_what_is_allowed(stated: str | None, taken: bool) -> None:
    assert (OPEN.check("m@1", stated) is None) is taken


def test_what_is_refused_is_so_although_it_is_allowed() -> None:
    policy = LicensePolicy(allowed=("CC-*",), refused=("CC-BY-NC-*",))
    reason = policy.check("m@1", "CC-BY-NC-4.0")
    assert reason is not None
    assert reason.code == "license_refused"
    assert "CC-BY-NC-4.0 is refused here (CC-BY-NC-* in updates.refused_licenses)" in reason.message


def test_without_a_policy_everything_is_taken_even_what_says_nothing() -> None:
    assert LicensePolicy().check("m@1", None) is None
    reason = LicensePolicy(refused=("NOASSERTION",)).check("m@1", None)
    assert reason is not None
    assert "no stated licence" in reason.message
