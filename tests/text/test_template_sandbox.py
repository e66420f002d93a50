"""A chat template neither runs nor grows without end, and what any conversation needs is far below its bounds."""

from __future__ import annotations

import pytest

from sepiola.data.example import Message
from sepiola.errors import DataError
from sepiola.text import template_sandbox
from sepiola.text.chat import DEFAULT, ChatTemplate

TALK = [{"role": "user", "content": "What is this? 这是什么？"}]
DOUBLE = "{%% set ns = namespace(x=%s) %%}{%% for i in range(99) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ ns.x }}"
BLOCKS = "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}"

ENDLESS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "macros": "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(60) }}",
    "calls": "{% macro a(n) %}{{ caller() }}{{ caller() }}{% endmacro %}"
    "{% for i in range(99999) %}{% for j in range(999) %}{% call a(1) %}x{% endcall %}{% endfor %}{% endfor %}",
}
GROWING = {
    "text": "{{ 'a' * 10**10 }}",
    "a list": "{{ [1] * 10**9 }}",
    "a list of messages": "{{ messages * 10**8 }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "squares": DOUBLE % ("2", "ns.x * ns.x"),
    "doubled text": DOUBLE % ("'a'", "ns.x ~ ns.x"),
    "summed text": DOUBLE % ("'a'", "ns.x + ns.x"),
    "doubled lists": DOUBLE % ("[1]", "ns.x + ns.x"),
    "nested lists": DOUBLE % ("[1]", "[ns.x, ns.x]"),
    "nested lists as JSON": DOUBLE.replace("ns.x }}", "ns.x | tojson }}") % ("[1]", "[ns.x, ns.x]"),
    "nested lists as text": DOUBLE % ("[1]", "[ns.x, ns.x]") + "{{ ns.x ~ 'a' }}",
    "blocks": BLOCKS + "{% set ns.x = y %}{% endfor %}",
    "literals": "{% for i in range(99999) %}{% for j in range(99999) %}" + "a" * 100_000 + "{% endfor %}{% endfor %}",
    "a width": "{{ '%1000000000d' % 1 }}",
    "a told width": "{{ '%*d' % (1000000000, 1) }}",
    "a format": "{{ '{:>1000000000}'.format(1) }}",
    "a nested format": "{{ '{:>{}}'.format(1, 10**9) }}",
    "a filter's format": "{{ '%1000000000d' | format(1) }}",
    "a method": "{{ 'a'.ljust(10**10) }}",
    "a filter": "{{ 'a' | center(10**10) }}",
    "an indent": "{{ messages | tojson(indent=10**9) }}",
    "replacements": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "replacements by a method": "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "a translation": "{{ ('a' * 99999).translate({97: 'b' * 99999}) }}",
    "a join": "{{ (['a' * 99999] * 99999) | join }}",
    "a join of what is made": "{{ (['a' * 99999] * 99999) | map('upper') | join }}",
    "a join by a method": "{{ ('a' * 99999).join('b' * 99999) }}",
    "slices": "{{ messages | slice(10**8) | list }}",
}


def _render(source: str) -> str:
    return ChatTemplate({DEFAULT: source}).render(TALK)


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_does_not_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "SECONDS", 0.05)
    with pytest.raises(DataError, match="the chat template is stopped: it runs for more than"):
        _render(ENDLESS[name])


@pytest.mark.parametrize("name", GROWING)
def test_a_template_that_grows_without_bound_is_stopped(name: str) -> None:
    with pytest.raises(DataError, match=r"the chat template is stopped: it (makes|asks)"):
        _render(GROWING[name])


def test_the_budget_is_one_renderings_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "LETTERS", 300)
    template = ChatTemplate({DEFAULT: "{% for m in messages %}{{ m.content }}{% endfor %}"})
    for _ in range(50):
        assert template.render(TALK * 5) == TALK[0]["content"] * 5
    with pytest.raises(DataError, match="more than 300 letters"):
        template.render(TALK * 20)


def test_long_conversations_are_laid_out() -> None:
    source = (
        "{% set ns = namespace(seen=[], text='') %}{% for m in messages %}{% set ns.seen = ns.seen + [m] %}"
        "{% set ns.text = ns.text ~ m['content'] | trim | replace('a', 'bc') %}{{ '<|' + m.role + '|>' + '=' * 3 }}"
        "{{ m.content.split('</think>')[-1] }}{% endfor %}{{ ns.seen | length }}{{ ns.text | length }}"
    )
    talk = [{"role": "user", "content": "a squid 耳乌贼 " * 4000}, {"role": "assistant", "content": "yes" * 9000}] * 50
    text = _render("{{ messages | tojson | length }}")
    assert text.isdecimal()
    assert ChatTemplate({DEFAULT: source}).render(talk).startswith("<|user|>===a squid")


@pytest.mark.parametrize("source", ["{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "{% if 1 %}" * 500, "{{ 1 +"])
def test_a_template_without_a_reading_is_one_message(source: str) -> None:
    for talk in (TALK, [Message("user", ("?",))]):
        with pytest.raises(DataError, match="chat template cannot be read as Jinja"):
            ChatTemplate({DEFAULT: source}).render(talk)


@pytest.mark.parametrize("words", ["'x' * 100000", "'one\\n' * 9999"])
def test_a_templates_own_message_is_one_short_line(words: str) -> None:
    with pytest.raises(DataError, match="the chat template refuses this conversation: ") as told:
        _render("{{ raise_exception(" + words + ") }}")
    assert len(str(told.value)) < 500 and "\n" not in str(told.value)
