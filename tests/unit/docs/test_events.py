"""docs/reference/events.md names what the code emits, all of it and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def modules(folder: str, *, but: str = "runtime") -> Iterator[ast.Module]:
    """All modules, but for those of a room: the runtime's ``emit()`` writes to the runner's pipe."""
    for path in (ROOT / folder).rglob("*.py"):
        if path.parent.name != but:
            yield ast.parse(path.read_text(encoding="utf-8"))


def called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def texts(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def results(function: str, module: ast.Module) -> Iterator[ast.expr]:
    """What a function of the module may return."""
    for each in ast.walk(module):
        if isinstance(each, ast.FunctionDef) and each.name == function:
            values = [node.value for node in ast.walk(each) if isinstance(node, ast.Return) and node.value]
            for value in values:
                yield from [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]


def resolve(node: ast.expr, module: ast.Module) -> Iterator[str]:
    """What a name given as a constant, a module's constant or a function's result can be."""
    candidates = [node]
    if isinstance(node, ast.Name):
        assignments = [each for each in module.body if isinstance(each, ast.Assign)]
        candidates = [each.value for each in assignments if getattr(each.targets[0], "id", "") == node.id]
    elif isinstance(node, ast.Call):
        candidates = list(results(called(node), module))
    for each in candidates:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def emitted() -> set[str]:
    found: set[str] = set()
    for module in modules("agent"):
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and node.args and called(node) in ("emit", "_emit", "record"):
                found.update(resolve(node.args[0], module))
    return found


def audited() -> set[str]:
    found: set[str] = set()
    for module in modules("controller"):
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or called(node) not in ("note", "_note", "_tell"):
                continue
            found.update(name for each in node.args for name in resolve(each, module) if NAME.fullmatch(name))
            for keyword in node.keywords:
                if keyword.arg == "action":
                    found.update(resolve(keyword.value, module))
    return found


def documented(heading: str) -> set[str]:
    """The names in the first column of the first table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1]
    table = section.split("| --- |", 1)[1].split("\n\n", 1)[0]
    return {name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_every_event_of_the_agent_is_documented_and_every_documented_one_exists() -> None:
    assert emitted() == documented("On a device")


def test_every_audited_action_of_the_controller_is_documented_and_every_documented_one_exists() -> None:
    assert audited() == documented("At the controller")


def test_the_codes_on_the_page_are_in_the_code() -> None:
    codes = {
        code
        for part in re.findall(r"### Codes of (?:.|\n)*?(?=\n##)", PAGE)
        for code in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", part)
    }
    known = {
        text
        for folder in ("agent", "controller")
        for module in modules(folder, but="")
        for text in texts(module)
    }
    assert codes - known <= {"trust_state_lost"}
    assert len(codes) > 40
