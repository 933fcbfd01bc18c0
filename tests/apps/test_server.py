"""The app as people start it: a real server, asked over HTTP, from this checkout and from installed wheels."""

import hmac
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest
import websockets.sync.client
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.typing import Subprotocol

from tests.apps.conftest import APP
from tests.browser.ollama import ollama

ROOT = APP.parents[1]
LAUNCHER = [sys.executable, str(APP / "launcher.py"), "--port", "{port}"]
TOKEN = "a-token-of-the-tests"
CONFIG = """
[server]
enableAgentApi = true
trustedUserHeaders = {X-User = "sub", X-Signed-In = "is_logged_in"}
"""
SECRETS = """
[auth]
redirect_uri = "https://docs.example.org/oauth2callback"
cookie_secret = "a long random text"
client_id = "me"
client_secret = "secret"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
"""
E7 = "What does fault code E7 mean?"
MOST_GROWTH = 40  # MB over twenty answers; conversations and pages take their share


class Server:
    """A running app."""

    def __init__(self, port: int, process_id: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = psutil.Process(process_id)
        self.http = httpx.Client(base_url=self.url, cookies={f"jina_rag_{port}": TOKEN}, timeout=120)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.http.get("/_stcore/health").raise_for_status()
                return
            except httpx.HTTPError:
                assert self.process.status() != psutil.STATUS_ZOMBIE, "it has ended"
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def ask(self, question: str) -> str:
        """The page with the answer, in a browser of its own that waits for the first start."""
        with Reader(self) as reader:
            reader.ask(question)
            return reader.wait()


class Reader:
    """A browser with one page of the app, as Streamlit's agent API gives it.

    Args:
        server: The app.
        user: Who has signed in, where people do.
        chat: The conversation that is open.
    """

    def __init__(self, server: Server, user: str = "", chat: str = "") -> None:
        signed_in = {"X-User": user, "X-Signed-In": "yes"} if user else {}
        cookies = dict(server.http.cookies)
        self._http = httpx.Client(base_url=server.url, cookies=cookies, headers=signed_in, timeout=120)
        self.page = self._interact(query_params={"chat": [chat]} if chat else {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def chat(self) -> str:
        """The conversation that is open, by the address."""
        found: str = self.page["query_params"]["chat"][0]
        return found

    def keys(self, prefix: str) -> list[str]:
        """The keys of what can be clicked or typed in, those that begin so."""
        return [key for action in self.page["actions"] if (key := action["key"] or "").startswith(prefix)]

    def ask(self, question: str) -> None:
        """Ask, and leave the page alone."""
        while not self.keys("question"):
            time.sleep(0.2)
            self.look()
        self.page = self._interact(session_id=self.page["session_id"], trigger={"key": "question", "value": question})

    def look(self) -> str:
        """All that the page says now."""
        self.page = self._interact(session_id=self.page["session_id"])
        return json.dumps(self.page["tree"])

    def wait(self) -> str:
        """The same when no answer is on its way any more."""
        said = self.look()
        while self.keys("stop"):
            time.sleep(0.5)
            said = self.look()
        return said

    def _interact(self, **request: object) -> dict[str, Any]:
        response = self._http.post("/_stcore/agent/interact", json=request)
        assert response.status_code == 200, response.text
        page: dict[str, Any] = response.json()
        assert page["status"] == "ready", page
        return page


@contextmanager
def started(
    command: Sequence[str], scratch: Path, *arguments: str, cwd: Path | None = None, secrets: str = ""
) -> Iterator[Server]:
    """The app that a command starts, by default in `scratch`; `{port}` becomes a free one. Its log is `scratch/log`."""
    (scratch / ".streamlit").mkdir(parents=True)
    (scratch / ".streamlit" / "config.toml").write_text(CONFIG)
    (scratch / ".streamlit" / "secrets.toml").write_text(secrets)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    with (scratch / "log").open("w") as log:
        process = subprocess.Popen(
            [word.replace("{port}", str(port)) for word in [*command, *arguments]],
            cwd=cwd or scratch,
            env={**os.environ, "JINA_RAG_APP_TOKEN": TOKEN},
            stdout=log,
            stderr=log,
        )
        server = Server(port, process.pid)
        try:
            server.wait()
            yield server
        finally:
            server.http.close()
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("cwd", [APP, ROOT])
def test_it_listens_on_this_machine_only_wherever_it_is_started(cwd: Path, tmp_path: Path) -> None:
    with started(LAUNCHER, tmp_path, "--index", str(tmp_path / "index"), cwd=cwd) as server:
        assert "<title>Streamlit</title>" in server.http.get("/").text
        listening = [each.laddr.ip for each in server.process.net_connections() if each.status == "LISTEN"]
    assert listening == ["127.0.0.1"]
    log = (tmp_path / "log").read_text()
    assert f"{server.url}/?token=$JINA_RAG_APP_TOKEN" in log
    assert "usage statistics" not in log


def test_its_settings_count_wherever_it_is_started(tmp_path: Path) -> None:
    code = f"""
import sys, uvicorn
uvicorn.Server.run = lambda *_, **__: None
sys.argv = ["jina-rag-app", "--port", "0"]
sys.path.insert(0, {str(APP)!r})
import launcher
launcher.main()
from streamlit import get_option
print(get_option("browser.gatherUsageStats"), get_option("client.showErrorDetails"))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout == "False none\n", run.stderr


@pytest.fixture(scope="module")
def exposed(made_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app behind a proxy of this machine, under the name docs.example.org."""
    scratch = tmp_path_factory.mktemp("exposed")
    index = shutil.copytree(made_folder, scratch / "index")
    with started(LAUNCHER, scratch, "--index", str(index), "--allow-host", "docs.example.org") as server:
        yield server
    assert "Traceback" not in (scratch / "log").read_text()


def cookie(server: Server, token: str) -> dict[str, str]:
    return {"Cookie": f"jina_rag_{server.port}={token}"}


@pytest.mark.parametrize("path", ["/", "/library", "/_stcore/host-config", "/media/x.png", "/static/js/index.js"])
def test_other_accounts_of_the_machine_need_the_token(exposed: Server, path: str) -> None:
    for headers in ({}, cookie(exposed, "wrong"), cookie(exposed, "\u00e9"), {"Cookie": f"jina_rag_1={TOKEN}"}):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        response = httpx.get(exposed.url + path, headers=raw)
        assert response.status_code == 403
    assert httpx.get(f"{exposed.url}{path}?token=wrong").status_code == 403
    assert httpx.get(f"{exposed.url}/_stcore/health").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_changed_without_the_token(exposed: Server, method: str) -> None:
    for path in ("/_stcore/agent/interact", "/_stcore/upload_file/x/y"):
        assert httpx.request(method, f"{exposed.url}{path}?token={TOKEN}").status_code == 403


def test_the_printed_address_leaves_a_cookie_and_no_token(exposed: Server) -> None:
    with httpx.Client() as browser:
        opened = browser.get(f"{exposed.url}//evil.test/library?chat=1&token={TOKEN}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/evil.test/library?chat=1")
        assert "HttpOnly" in opened.headers["set-cookie"]
        assert "SameSite=lax" in opened.headers["set-cookie"]
        assert "<title>Streamlit</title>" in browser.get(exposed.url).text


@contextmanager
def opened_page(server: Server, token: str = TOKEN, host: str | None = None) -> Iterator[tuple[str, bytes]]:
    """The session and all that was drawn of the Library, as a browser gets it over a WebSocket, under any Host."""
    drawn, session_id, message = b"", "", ForwardMsg()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        websockets.sync.client.connect(
            f"ws://{host or f'127.0.0.1:{server.port}'}/_stcore/stream",
            sock=plain,
            additional_headers=cookie(server, token),
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
            proxy=None,
        ) as page,
    ):
        request = BackMsg()
        request.rerun_script.page_name = "library"
        page.send(request.SerializeToString())
        while message.WhichOneof("type") != "script_finished":
            received = page.recv(timeout=120, decode=False)
            message.ParseFromString(received)
            drawn += received
            if message.WhichOneof("type") == "new_session":
                session_id = message.new_session.initialize.session_id
        yield session_id, drawn


VISITOR_TOKEN = hmac.new(TOKEN.encode(), b"visitor", "sha256").hexdigest()


@pytest.mark.parametrize(
    ("token", "host", "is_owner"),
    [
        (TOKEN, None, True),
        (TOKEN, "docs.example.org", False),
        (VISITOR_TOKEN, "docs.example.org", False),
        (VISITOR_TOKEN, None, False),
    ],
)
def test_only_the_owner_names_files_of_this_machine(
    exposed: Server, token: str, host: str | None, is_owner: bool
) -> None:
    """A visitor is who comes by another name, through a proxy say, and who has another token than the owner's."""
    with opened_page(exposed, token, host) as (_, drawn):
        assert b"Add documents" in drawn
        assert (b"folder or file on this computer" in drawn) is is_owner


ORIGINS = [
    (None, 101),
    ("http://127.0.0.1:{port}", 101),
    ("http://evil.test", 403),
    ("http://localhost:{port}", 403),
    ("http://127.0.0.1:1", 403),
    ("null", 403),
    ("http://[", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
def test_a_websocket_belongs_to_a_page_of_the_app(exposed: Server, origin: str | None, status: int) -> None:
    """And no name is looked up for another's: it never reaches Streamlit, which would ask a host for our address."""
    headers = {
        **cookie(exposed, TOKEN),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    if origin:
        headers["Origin"] = origin.format(port=exposed.port)
    assert _status(exposed, "GET", "/_stcore/stream", headers) == status
    if status == 101:
        del headers["Cookie"]
        assert _status(exposed, "GET", "/_stcore/stream", headers) == 403


def _status(server: Server, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_uploads_are_for_sessions_that_have_a_page_and_have_a_budget(exposed: Server) -> None:
    exposed.http.get("/_stcore/host-config")
    headers = {"X-Xsrftoken": exposed.http.cookies["_streamlit_xsrf"]}

    def put(session_id: str, **more: Any) -> int:
        return exposed.http.put(f"/_stcore/upload_file/{session_id}/1", headers=headers, **more).status_code

    with opened_page(exposed) as (session_id, _):
        files = {"file": ("a.txt", b"hello")}
        assert put(session_id, files=files) == 204
        assert put("another", files=files) == 403
        assert put(session_id, content=iter([b"no length"])) == 411
        too_large = {**headers, **cookie(exposed, TOKEN), "Content-Length": "500000001"}
        assert _status(exposed, "PUT", f"/_stcore/upload_file/{session_id}/2", too_large) == 413


def test_nothing_is_uploaded_before_the_sign_in(tmp_path: Path) -> None:
    """Where people sign in, nobody needs a token to see the page that asks them to."""
    with (
        started(LAUNCHER, tmp_path, "--index", str(tmp_path / "index"), secrets=SECRETS) as server,
        opened_page(server, "") as (session_id, drawn),
    ):
        assert b"Sign in" in drawn
        assert b"Add documents" not in drawn
        path, files = f"/_stcore/upload_file/{session_id}/1", {"file": ("a.txt", b"hello")}
        assert httpx.put(server.url + path, files=files).text == "Sign in first."


def test_headers_forbid_what_comes_from_elsewhere(exposed: Server) -> None:
    policy = exposed.http.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' data: blob:" in policy
    place = f"127.0.0.1:{exposed.port}"
    assert f"connect-src 'self' ws://{place} wss://{place};" in policy
    odd = exposed.http.get("/", headers={"Host": "a; script-src *"})
    assert "connect-src 'self';" in odd.headers["content-security-policy"]
    assert odd.headers["x-content-type-options"] == "nosniff"


def test_ten_readers_lose_nothing_when_the_server_is_killed_amid_their_answers(
    folder: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Half of them have left their pages; all find what they were told before, and the answer that was on its way."""
    megabytes = []
    words = [f"word{number} " for number in range(40)]
    with ollama([*words, "[1]"], 20) as model, ThreadPoolExecutor(10) as ten, ExitStack() as opened:
        arguments = ("--index", str(folder), "--llm", model.llm("waiting"))
        model.go_on.set()
        with started(LAUNCHER, tmp_path / "killed", *arguments, secrets=SECRETS) as server:
            users = [f"reader {number}" for number in range(10)]
            readers = [opened.enter_context(reader) for reader in ten.map(partial(Reader, server), users)]
            for question in ("What does fault code E7 mean?", "And E6?", "And E5?"):
                list(ten.map(lambda reader, asked=question: reader.ask(asked), readers))
                assert all("word39" in said for said in ten.map(Reader.wait, readers))
                megabytes.append(server.process.memory_info().rss / 1e6)
            model.go_on.clear()
            list(ten.map(lambda reader: reader.ask("And E4?"), readers))
            for reader in readers[:5]:
                while "word19" not in reader.look():
                    time.sleep(0.1)
            server.process.kill()
        model.go_on.set()
        with started(LAUNCHER, tmp_path / "next", *arguments, secrets=SECRETS) as server:
            again = ten.map(partial(Reader, server), users, [reader.chat for reader in readers])
            readers = [opened.enter_context(reader) for reader in again]
            for reader, said in zip(readers, ten.map(Reader.wait, readers), strict=True):
                assert [said.count(f'"{asked}"') for asked in ("And E6?", "And E5?", "And E4?")] == [1, 1, 1]
                assert len(reader.keys("edit-")) == 4
                assert said.count("word39") == 3 * 4  # as drawn, among the claims, and to be copied
                assert reader.keys("chat-") == [f"chat-{reader.chat}"]
    record_property("megabytes", megabytes)
    assert megabytes[-1] - megabytes[0] < MOST_GROWTH, megabytes
    assert not [log for log in tmp_path.glob("*/log") if "Traceback" in log.read_text()]


def test_other_hosts_are_refused(exposed: Server) -> None:
    answer = exposed.http.post("/_stcore/agent/interact", json={}, headers={"Host": "evil.test"})
    assert answer.status_code == 403


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the library and the app, put into a folder by plain pip."""
    work = tmp_path_factory.mktemp("installed")
    for name, source in (("core", ROOT), ("app", APP)):
        ignored = shutil.ignore_patterns(
            "__pycache__", "dist", ".venv", ".git", ".jina-rag", "tests", "apps", "integrations"
        )
        shutil.copytree(source, work / name, ignore=ignored)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "dist")]
        subprocess.run(build, cwd=work / name, check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", work / "site", *(work / "dist").glob("*.whl")], check=True)
    return work / "site"


def test_first_start_from_installed_wheels_in_any_folder(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), sysconfig.get_path("purelib")]))
    # -S leaves out the .pth files, and with them this checkout.
    command = [sys.executable, "-S", "-m", "jina_rag_app.launcher", "--port", "{port}"]
    with started(command, tmp_path, "--index", "mine") as server:
        assert "content-security-policy" in server.http.get("/").headers
        answer = server.ask(E7)
    assert "23.5 volts" in answer
    assert "lamp" in answer
    assert {path.name for path in tmp_path.iterdir()} == {".streamlit", "log", "mine"}
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--bogus",), "unrecognized arguments: --bogus"),
        (("--index", "chroma://localhost"), "can't be the name of a collection"),
    ],
)
def test_command_line_mistakes_are_told_before_anything_starts(arguments: tuple[str, ...], problem: str) -> None:
    command = [sys.executable, str(APP / "launcher.py"), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert problem in run.stderr
