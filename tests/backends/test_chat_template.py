"""Chat templates of model files: rendered as llama-cpp-python does, and ended when they misbehave."""

import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from jina_rag.backends.base import Message
from jina_rag.backends.llama_cpp.chat_template import ChatTemplate
from jina_rag.bundled import bundled_chat_model
from jina_rag.gguf_file import read_gguf_header

ENDLESS = "{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% for c in r %}" + "{% endfor %}" * 3

TALK: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'What "colour" is <b>Mars</b>? 灯台 \ud800'},
    {"role": "assistant", "content": "Red.\n"},
    {"role": "user", "content": "Why?"},
]


def test_prompts_are_those_of_llama_cpp_python() -> None:
    templates = [
        str(read_gguf_header(bundled_chat_model()).metadata["tokenizer.chat_template"]),
        "{% generation %}{{ bos_token }}{% endgeneration %}{% for m in messages %}{% if loop.first %}{% continue %}"
        "{% endif %}\n    {{ m | tojson }}{{ m.content | trim }}{% endfor %}{{ eos_token }}{{ add_generation_prompt }}",
    ]
    for template in templates:
        expected = Jinja2ChatFormatter(template=template, bos_token="<s>", eos_token="")(messages=TALK).prompt  # type: ignore[arg-type]
        assert ChatTemplate(template).render(TALK, bos_token="<s>") == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if %}", "chat template fails: Expected an expression"),
        ("{{ raise_exception('no system turn') }}", "chat template fails: no system turn"),
        ("{{ ''.__class__.__mro__ }}", "chat template fails: access to attribute '__class__'"),
        ("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "writes more than 2,000,000 characters"),
        (ENDLESS,
         "takes more than 1 seconds, or too much memory"),
        ("{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
         "MemoryError|too much memory"),
    ],
)  # fmt: skip
def test_templates_that_misbehave_are_refused(template: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "seconds" in message:
        monkeypatch.setattr("jina_rag.backends.llama_cpp.chat_template.MAX_SECONDS", 1.0)
    with pytest.raises(ValueError, match=message):
        ChatTemplate(template)


def test_a_template_that_compiles_to_no_end_is_refused_with_the_others() -> None:
    with pytest.raises(ValueError, match="chat template fails"):
        ChatTemplate("{{ messages[0].content }}", "{% for %}")


def test_a_template_that_was_ended_renders_again(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(f"{{% if messages | length > 1 %}}{ENDLESS}{{% endif %}}{{{{ messages[0].content }}}}")
    with monkeypatch.context() as patch:
        patch.setattr("jina_rag.backends.llama_cpp.chat_template.MAX_SECONDS", 0.5)
        with pytest.raises(ValueError, match="takes more than"):
            template.render(TALK, bos_token="")
    assert template.render(TALK[:1], bos_token="") == "Be brief."
    template.close()
    assert template.render(TALK[:1], bos_token="") == "Be brief."
