from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.configs.bundles import Settings, join

sections = st.dictionaries(
    st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3), max_size=3
)


@given(st.lists(sections, max_size=4))
def test_the_last_bundle_that_says_something_wins(bundles: list[Settings]) -> None:
    joined = join(bundles)
    for section in "abc":
        for key in "xyz":
            said = [b[section][key] for b in bundles if key in b.get(section, {})]
            assert joined.get(section, {}).get(key) == (said[-1] if said else None)


@given(st.lists(sections, max_size=4))
def test_joining_changes_no_bundle(bundles: list[Settings]) -> None:
    before = [{section: dict(values) for section, values in bundle.items()} for bundle in bundles]
    join(bundles)
    assert bundles == before
