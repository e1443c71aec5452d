import time

import pytest

from skerry_agent.runtime.chat_template import (
    MAX_TIMEOUTS,
    ChatTemplate,
    TemplateBrokenError,
    TemplateRefusedError,
)
from skerry_agent.runtime.requests import ChatMessage

USER = ChatMessage("user", "Hi")


def _render(source: str, *messages: ChatMessage) -> str:
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")  # noqa: S106 - no password
    return template.render(messages or (USER,))


def test_blocks_are_trimmed_as_transformers_does() -> None:
    source = "{% for m in messages %}\n    {{ m['role'] }}: {{ m.content }}\n{% endfor %}\n[end]"
    assert _render(source, USER, ChatMessage("assistant", "Yo")) == "    user: Hi\n    assistant: Yo\n[end]"


def test_templates_get_the_special_tokens_and_the_opening_of_the_answer() -> None:
    assert _render("{{ bos_token }}{{ eos_token }}{% if add_generation_prompt %}go{% endif %}") == "<s></s>go"


def test_no_tools_are_none_and_not_undefined() -> None:
    assert _render("{% if tools is none %}none{% endif %}") == "none"


def test_html_is_not_escaped() -> None:
    assert _render("{{ messages[0].content }}", ChatMessage("user", "<a & b>")) == "<a & b>"


def test_the_date_can_be_written() -> None:
    assert len(_render("{{ strftime_now('%d %b %Y') }}")) == len("24 Nov 2026")


def test_json_keeps_characters() -> None:
    assert (
        _render("{{ messages[0] | tojson }}", ChatMessage("user", "é")) == '{"role": "user", "content": "é"}'
    )


def test_loop_controls_and_generation_tags_are_known() -> None:
    source = (
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    )
    assert _render(source, USER, USER) == "Hi"


def test_a_template_that_refuses_the_messages_says_why() -> None:
    with pytest.raises(TemplateRefusedError, match="roles must alternate"):
        _render("{{ raise_exception('roles must alternate') }}")


def test_a_template_with_a_syntax_error_is_broken() -> None:
    with pytest.raises(TemplateBrokenError, match="use completions"):
        ChatTemplate("{% for %}", bos_token="", eos_token="")


def test_a_template_that_fails_does_not_quote_the_messages() -> None:
    with pytest.raises(TemplateBrokenError) as caught:
        _render("{{ messages[0].content + 1 }}", ChatMessage("user", "secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_hostile_template_gets_nowhere(source: str) -> None:
    with pytest.raises(TemplateBrokenError):
        _render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 10 ** (10 ** 8) }}",
        "{% set ns = namespace(x=3) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% set big = ('1' * 100000) | int(base=2) %}{{ big // 3 }}",
        "{{ 5 | round(-1000000000) }}",
        "{{ 5.5 | round(1000000000, 'ceil') }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    ],
)
def test_what_would_be_endless_is_refused_at_once(source: str) -> None:
    began = time.process_time()
    with pytest.raises(TemplateBrokenError, match="this model's chat template"):
        _render(source)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ range(99999) | map('string') | map('length') | sum }}{{ lipsum(n=1000000) }}",
    ],
)
def test_a_template_that_does_not_end_is_ended(source: str) -> None:
    template = ChatTemplate(source, bos_token="", eos_token="", cpu_s=0.15)
    with pytest.raises(TemplateBrokenError, match=r"did not end within 0\.15 s"):
        template.render([USER])


def test_a_template_that_never_ends_is_not_run_for_ever() -> None:
    source = "{% if messages[0].content == 'Hi' %}{% for i in range(99999) %}{% for j in range(99999) %}"
    source += "{% endfor %}{% endfor %}{% endif %}done"
    template = ChatTemplate(source, bos_token="", eos_token="", cpu_s=0.11)
    for _ in range(MAX_TIMEOUTS - 1):
        with pytest.raises(TemplateBrokenError, match="did not end within"):
            template.render([USER])
    assert template.render([ChatMessage("user", "Bye")]) == "done"  # and the count begins anew
    for _ in range(MAX_TIMEOUTS):
        with pytest.raises(TemplateBrokenError, match="did not end within"):
            template.render([USER])
    with pytest.raises(TemplateBrokenError, match="out of use"):
        template.render([ChatMessage("user", "Bye")])


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
        "x" * 2_000_000,
    ],
    ids=["parentheses", "blocks", "length"],
)
def test_a_text_that_is_too_much_for_the_parser_is_a_broken_template(source: str) -> None:
    with pytest.raises(TemplateBrokenError, match="use completions"):
        ChatTemplate(source, bos_token="", eos_token="")


def test_constants_are_not_computed_before_somebody_asks() -> None:
    ChatTemplate("{{ 10 ** (10 ** 8) }}{{ 'x' * 10 ** 9 }}", bos_token="", eos_token="")


def test_arithmetic_with_usual_numbers_and_texts_is_what_it_is() -> None:
    assert _render("{{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 10 }} {{ 2.54 | round(1) }}") == "3 3 1024 2.5"
    assert _render("{{ 'ab' * 2 }} {{ 'a' + 'b' }} {{ '%s!' % 5 }}") == "abab ab 5!"
