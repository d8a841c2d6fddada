"""Code that a model wrote against tests: off unless asked, bounded, and without a network."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.tasks import AnswerSpec, Item, Task, named_metric
from tierwise.tasks.code_tests import ALLOWED, code_in, has_no_network, passes
from tierwise.testing import MetricConformance

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the limits are those of POSIX"),
]
SPEC = AnswerSpec(normalise="none")
ADD = "```python\ndef add(a, b):\n    return a + b\n```"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")


def run(code: str, test: str = "", seconds: float = 5) -> bool:
    return passes(code, test, seconds=seconds, memory_mb=256)


class TestCodeTests(MetricConformance):
    metric = staticmethod(named_metric({"code_tests": {"seconds": 10}}, SPEC)[1])
    right = ((ADD, Item("i", {}, "assert add(1, 2) == 3")),)

    def test_any_right_answer_counts(self) -> None:
        """A list of targets are several tests here: the score is the share that passes."""
        item = Item("i", {}, "assert add(1, 2) == 3", ("assert add(1, 2) == 4",))
        assert self.metric(ADD, item) == 0.5


def test_nothing_runs_unless_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ALLOWED)
    mark = tmp_path / "ran"
    with pytest.raises(InputError, match="allow it by --run-code"):
        run(f"open({str(mark)!r}, 'w')")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "test", "right"),
    [
        ("x = 1", "assert x == 1", True),
        ("x = 1", "assert x == 2", False),
        ("x = ", "", False),
        ("import sys; sys.exit(0)", "assert False", False),
        ("import os; os._exit(0)", "assert False", False),
        ("def f(): return __name__", "assert f() == '__main__'", True),
        ("\0", "", False),
    ],
)
def test_a_test_passes_that_comes_to_its_end(code: str, test: str, right: bool) -> None:
    assert run(code, test) is right


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "x = 'a' * 10**10",
        "open('big', 'wb').write(b'0' * 10**8)",
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()",
    ],
)
def test_code_that_takes_too_much_is_ended(code: str) -> None:
    begun = time.monotonic()
    assert not run(code, seconds=1)
    assert time.monotonic() - begun < 30


def test_the_environment_stays_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert run("import os", "assert not any('KEY' in name for name in os.environ)")


def test_there_is_no_network() -> None:
    if not has_no_network():
        pytest.skip("this system gives processes no network namespaces of their own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard = threading.Event()

        def listen() -> None:
            server.settimeout(3)
            try:
                server.accept()
                heard.set()
            except TimeoutError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        port = server.getsockname()[1]
        assert not run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)")
        thread.join()
        assert not heard.is_set()


def test_the_code_is_the_last_block() -> None:
    assert code_in("First:\n```\nx\n```\nthen\n```python\ny\n```\n") == "y\n"
    assert code_in("x = 1") == "x = 1"
    assert code_in("```python\ny = 1") == "y = 1"  # a fence that is not closed


def test_a_task_of_code() -> None:
    rows = [{"q": "add", "tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}] * 2
    task = Task.from_rows(rows, inputs=["q"], target="tests", answer=SPEC, metric="code_tests")
    assert task.score(ADD, task.items[0]) == 1
    assert task.score("def add(a, b): return 0", task.items[0]) == 0.5
    assert task.score(None, task.items[0]) == 0
