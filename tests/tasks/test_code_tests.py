"""Code that a model wrote against tests: off unless asked, bounded, and without a network."""

from __future__ import annotations

import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.serving.worlds import VARIANTS, policy_file
from tierwise.errors import InputError, UnsupportedError
from tierwise.schema import PolicyFile, StrategySpec, uniform
from tierwise.serving import PolicyRuntime
from tierwise.serving.export import proxy_files
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


# --- answers that are code ----------------------------------------------------------------------

DOUBLE = AnswerSpec(normalise="code", calls=("f(2)", "f([1])"))


@pytest.mark.parametrize(
    ("code", "other", "alike"),
    [
        ("def f(x): return x + x", "def f(x):\n    print('hm')\n    return x * 2", True),
        ("def f(x): return x + x", "def f(x): return x", False),
        ("def f(x): return {'b', 'a'}", "def f(x): return {'a', 'b'}", True),
        ("def f(x): return 0.1 + 0.2", "def f(x): return 0.3", True),
        ("def f(x): return (1,)", "def f(x): return [1]", False),
        ("def f(x): return 'x' * 3000", "f = lambda x: 'xxx' * 1000", True),
        ("from __future__ import annotations\ndef f(x): return 1", "def f(x): return True", False),
        ("def f(x): return 1\nif __name__ == '__main__': input()", "def f(x): return 1.0", True),
    ],
)
def test_code_votes_for_what_it_does(code: str, other: str, alike: bool) -> None:
    votes = [DOUBLE.values(DOUBLE.extract(each)) for each in (code, other)]
    assert all(votes)
    assert (votes[0] == votes[1]) is alike


@pytest.mark.parametrize(
    "code",
    [
        "def f(x): return x / 0",  # on every call
        "def f(x): return x + 1",  # on the second
        "def f(x): return (i for i in [x])",  # has no written form
        "def g(x): return x",
        "import os\ndef f(x): os._exit(0)",
        "def f(x):\n    while True: print(x)",  # more output than there may be
        "raise SystemExit",
        "I cannot.",
        "",
    ],
)
def test_code_that_fails_on_a_call_abstains(code: str) -> None:
    assert DOUBLE.extract(code) is None


def test_calls_come_from_the_item_and_are_nothing_but_calls() -> None:
    spec = AnswerSpec(normalise="code", calls=("{{ calls }}", "{{ name }}(9)"))
    own = spec.of({"calls": "g(1)\ng([2, 'a'], deep={'b': None})", "name": "g"})
    assert own.calls == ("g(1)", "g([2, 'a'], deep={'b': None})", "g(9)")
    for calls in ("__import__('os').system('ls')", "f(g())", "f", "f(1); f(2)", "f(x)"):
        with pytest.raises(InputError, match="is no call with plain values"):
            spec.of({"calls": calls, "name": "g"})
    with pytest.raises(InputError, match="is no call with plain values"):
        AnswerSpec(normalise="code", calls=("f(open('x'))",))
    assert AnswerSpec(normalise="code", calls=("exec('x = 1')",)).extract("def f(): pass") is None
    with pytest.raises(InputError, match=r"input in answer\.calls"):
        spec.of({"name": "g"})
    with pytest.raises(InputError, match="go together"):
        AnswerSpec(normalise="code")


def test_nobody_tunes_or_serves_code_that_may_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOWED)
    with pytest.raises(InputError, match="allow it by --run-code"):
        DOUBLE.check_usable()
    policy = replace(policy_file(uniform(VARIANTS[0], StrategySpec.of("single"))), answer=DOUBLE)
    with pytest.raises(InputError, match="allow it by --run-code"):
        PolicyRuntime(policy)
    with pytest.raises(UnsupportedError, match="serve --run-code"):
        proxy_files(policy)
    assert PolicyFile.loads(policy.dumps()).answer == DOUBLE


def test_code_is_right_where_it_does_what_the_target_does_or_passes_its_tests() -> None:
    spec = AnswerSpec(normalise="code", calls=("{{ calls }}",))
    items = {"exact_match": "def f(x): return x * 2", "code_tests": "assert f(4) == 8"}
    for metric, target in items.items():
        rows = [{"calls": "f(3)", "target": target}]
        task = Task.from_rows(rows, inputs=["calls"], answer=spec, metric=metric)
        (item,) = task.items
        assert task.score(spec.of(item.inputs).extract(ADD.replace("a, b", "a, b=0")), item) == 0
        assert task.score(spec.of(item.inputs).extract("f = lambda n: n + n"), item) == 1
