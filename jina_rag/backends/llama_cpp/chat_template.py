"""Chat templates of GGUF files, rendered under limits.

A template is a program that somebody else wrote. It runs in Jinja's sandbox, in a process of its own that has little
memory, and is ended when it takes too long or writes too much.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from threading import Lock, Timer
from typing import Any, NoReturn

from jina_rag.backends.base import Message
from jina_rag.subprocesses import module_command, module_environment

MAX_SECONDS = 10.0
MAX_CHARACTERS = 2_000_000
MAX_MEMORY_BYTES = 512 * 2**20


class ChatTemplate:
    """Makes one prompt of messages. Safe to call from many threads."""

    def __init__(self, template: str, *others: str) -> None:
        """Take a file's template, and others in it that have to compile too.

        Raises:
            ValueError: the template is no program, or can't render a short conversation within the limits.
        """
        self._templates = (template, *others)
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()
        self.render([{"role": "user", "content": "Hello."}], bos_token="")

    def render(self, messages: Sequence[Message], *, bos_token: str) -> str:
        """The prompt, up to where the assistant's turn begins.

        Raises:
            ValueError: the template refuses the messages, fails, takes too long or writes too much.
        """
        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            timer = Timer(MAX_SECONDS, process.kill)
            timer.start()
            try:
                process.stdin.write(json.dumps({"messages": list(messages), "bos_token": bos_token}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            finally:
                timer.cancel()
            if not line.endswith("\n"):
                self._end()
                raise ValueError(f"its chat template takes more than {MAX_SECONDS:g} seconds, or too much memory")
        reply: dict[str, str] = json.loads(line)
        if "error" in reply:
            raise ValueError(f"its chat template fails: {reply['error']}")
        return reply["prompt"]

    def close(self) -> None:
        """End the process; the next rendering starts another."""
        with self._lock:
            self._end()

    def _start(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(  # noqa: S603 - our own module
            module_command(__name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=module_environment(),
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(self._templates) + "\n")
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __del__(self) -> None:
        self._end()


def _serve() -> None:
    """What the process does: a line with the templates, then for each line of messages one with the prompt."""
    _limit_memory()
    templates = json.loads(sys.stdin.readline())
    compiled: Any = None
    for line in sys.stdin:
        _set_alarm(MAX_SECONDS)  # in case nobody is there to end this
        try:
            compiled = compiled or [_compiled(template) for template in templates]
            reply = {"prompt": _rendered(compiled[0], **json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whatever a template raises
            reply = {"error": f"{str(error)[:300] or type(error).__name__}"}
        _set_alarm(0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def _compiled(template: str) -> Any:  # noqa: ANN401 - Jinja's
    from jinja2 import BaseLoader
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationTags(Extension):
        """Leaves out {% generation %}, which marks what a model is trained on."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja has it

        def parse(self, parser: Parser) -> Any:  # noqa: ANN401
            parser.stream.skip(1)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    # As transformers and llama-cpp-python set it up.
    environment = ImmutableSandboxedEnvironment(
        loader=BaseLoader(), trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTags, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return environment.from_string(template)


def _rendered(template: Any, messages: list[Message], bos_token: str) -> str:  # noqa: ANN401
    pieces, n_characters = [], 0
    for piece in template.generate(
        messages=messages,
        bos_token=bos_token,
        eos_token="",
        add_generation_prompt=True,
        enable_thinking=False,  # Qwen's and Gemma's templates then close the reasoning before it begins
        functions=None,
        function_call=None,
        tools=None,
        tool_choice=None,
        raise_exception=_raise,
        strftime_now=lambda layout: datetime.now().strftime(layout),
    ):
        pieces.append(piece)
        n_characters += len(piece)
        if n_characters > MAX_CHARACTERS:
            raise ValueError(f"it writes more than {MAX_CHARACTERS:,} characters")
    return "".join(pieces)


def _raise(message: object) -> NoReturn:
    raise ValueError(message)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


def _set_alarm(seconds: float) -> None:
    import signal

    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds))


if __name__ == "__main__":
    _serve()
