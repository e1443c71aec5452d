import pytest

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError, TemplateRefusedError
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
