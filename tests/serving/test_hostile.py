"""Clients, policies and models that mean harm: what they send stays data."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.serving.gateways import USER, VOTE, client, gateway, post
from tests.serving.worlds import policy_file
from tierwise.cli import export
from tierwise.errors import InputError, printable
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.answer import Answer, TracedSample
from tierwise.serving.export import proxy_files
from tierwise.serving.gateway import GatewayMetrics, PrintableFormatter

ACTIVE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2028\r"
"""Sets a terminal's title, clears it, colours it, reverses text and starts a line of its own."""
NAMES = [
    "small\n  api_base: http://evil.example",
    "small\napi_key: sk-x\nmodel_list: []",
    "a: {b: c}",
    "- !!python/object/apply:os.system ['id']",
    "*anchor",
    "'\"",
    "# comment",
    "../../etc/passwd",
    "..\\..\\windows",
    "config",
    "Config",
    "con.yaml",
    "x" * 300,
    "情報",
    "\U0001d49c",
    "\u202egpj",
    ".hidden",
    "...",
    "a/b",
    "on",
    "1e3",
    "null",
]


def with_names(name: str) -> PolicyFile:
    file = policy_file(VOTE, name)
    return replace(file, tier=replace(file.tier, name=name))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_value_of_the_proxys_config_and_nothing_else(name: str) -> None:
    plain, hostile = proxy_files(with_names("plain")), proxy_files(with_names(name))
    expected = yaml.safe_load(plain["config.yaml"])
    expected["model_list"][0]["model_name"] = name
    expected["model_list"][0]["litellm_params"]["model"] = f"policy/{name}"
    assert yaml.safe_load(hostile["config.yaml"]) == expected
    assert len(hostile) == 3
    for file_name in hostile:
        assert Path(file_name).name == file_name
        assert file_name.isascii()
        assert len(file_name) < 100
        assert not file_name.startswith(".")
    [policy_name] = set(hostile) - {"config.yaml", "tierwise_policies.py"}
    assert policy_name.lower() != "config.yaml"
    scope: dict[str, object] = {}
    handler = hostile["tierwise_policies.py"].replace("PolicyProvider.beside(__file__, ", "dict(a=")
    exec(handler.replace("from tierwise.serving.litellm_provider import PolicyProvider", ""), scope)
    assert scope["provider"] == {"a": policy_name}


def test_two_names_that_differ_get_two_files() -> None:
    made = {
        next(
            n
            for n in proxy_files(with_names(name))
            if n not in ("config.yaml",) and n.endswith(".yaml")
        )
        for name in ("a b", "a-b", "a/b", "a:b")
    }
    assert len(made) == 4


def test_the_key_of_a_deployment_is_named_by_a_plain_variable() -> None:
    file = policy_file(VOTE)
    config = yaml.safe_load(proxy_files(file)["config.yaml"])
    for entry in config["model_list"]:
        key = entry["litellm_params"].get("api_key", "os.environ/X_API_KEY")
        assert key.startswith("os.environ/")
        assert key.removeprefix("os.environ/").isidentifier()
        assert "api_base" not in entry["litellm_params"]


def test_export_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    path = with_names("../../escaped").save(tmp_path / "p.yaml")
    out = tmp_path / "deep" / "out"
    args = [str(path), "--to", "litellm-proxy", "--out", str(out)]
    with pytest.raises(InputError, match=r"p\.yaml:2: name: '\.\./\.\./escaped' is no name"):
        CliRunner().invoke(export.command, args, catch_exceptions=False)
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {path}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": USER, "inputs": None, "metadata": "x"},
        {"messages": [{"role": ACTIVE, "content": "q"}]},
        {"model": ACTIVE, "messages": USER},
        {"messages": USER, ACTIVE: 1},
        {"messages": [{"role": "user", "content": [{"type": ACTIVE}]}]},
        {"inputs": {ACTIVE: "x"}},
    ],
)
async def test_what_a_client_sends_comes_back_as_json_and_never_acts(
    tmp_path: Path, body: dict, caplog: pytest.LogCaptureFixture
) -> None:
    got = await post(gateway(tmp_path, policy_file(VOTE)), **body)
    assert got.status_code in (200, 400, 404)
    assert "\x1b" not in got.text
    assert "\r" not in "".join(got.headers.values())
    assert not caplog.records, "a refused request is no line of the log"


def nested(levels: int, inner: str = "0", opening: str = "[", closing: str = "]") -> str:
    return opening * levels + inner + closing * levels


@pytest.mark.parametrize("levels", [40, 400, 900, 5000, 200_000])
@pytest.mark.parametrize(
    "template",
    [
        '{"model": "p", "messages": %s}',
        '{"model": "p", "messages": [{"role": %s, "content": "q"}]}',
        '{"model": "p", "messages": [{"role": "user", "content": [{"type": %s}]}]}',
        '{"model": "p", "inputs": {"question": %s}}',
        '{"model": "p", "unknown": %s}',
        '{"model": "p", "metadata": %s, "messages": [{"role": "user", "content": "q"}]}',
    ],
)
async def test_a_deep_body_is_a_400(tmp_path: Path, template: str, levels: int) -> None:
    body = (template % nested(levels)).encode()
    async with client(gateway(tmp_path, policy_file(VOTE))) as http:
        headers = {"content-type": "application/json"}
        got = await http.post("/v1/chat/completions", content=body, headers=headers)
    assert got.status_code == 400
    assert "nested too deep" in got.json()["error"]["message"]


async def test_brackets_in_a_text_are_no_depth(tmp_path: Path) -> None:
    text = nested(500)
    got = await post(
        gateway(tmp_path, policy_file(VOTE)), messages=[{"role": "user", "content": text}]
    )
    assert got.status_code == 200


def test_a_line_of_the_log_is_one_line_and_cannot_act() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.Logger("tierwise.test")
    log.addHandler(handler)
    log.warning("refused: %s", f"x\nINFO tierwise: all is well{ACTIVE}")
    try:
        raise ValueError(f"a text of a client {ACTIVE}")
    except ValueError:
        log.exception("it broke")
    first, *rest = out.getvalue().splitlines()
    assert first.startswith("WARNING tierwise.test: refused: x\\nINFO")
    assert rest[0] == "ERROR tierwise.test: it broke"
    assert rest[1].startswith("Traceback")
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_printable_keeps_what_people_write() -> None:
    text = "Größe: 3 × 4 → 12\n\tпривет 情報 👩‍💻 e\u0301"
    assert printable(text) == text
    assert printable("a\nb\x1b[1m\ud800", one_line=True) == r"a\nb\x1b[1m\ud800"
    assert json.loads(json.dumps(printable(ACTIVE))) == printable(ACTIVE)
    assert not set(printable(ACTIVE)) & set("\x1b\x07\x9b\u202e\u2028\r")


def test_a_clients_words_name_no_series_of_the_metrics() -> None:
    """A query that a model made of a client's question is no label: each would be kept for ever."""
    metrics = GatewayMetrics()
    trace = tuple(
        TracedSample("v", 0, None, "", 0, 0, 0.0, 0.0, error=f"lookup: of {q!r}: gone", query=q)
        for q in ("one", "two: three")
    )
    answer = Answer(
        *("", None, "all", 0.0, 2, 1, 1, 0, 0, 0, 0, 0.0, 0.1, "failed", "stop", None, trace)
    )
    metrics.answered("p", answer)
    text = metrics.text().decode()
    assert 'tierwise_samples_total{outcome="lookup",policy="p"} 2.0' in text
    assert text.count("tierwise_samples_total{") == 1


def test_headers_of_a_deployment_are_named_by_their_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEAM_PASS", "team-9876543210")
    monkeypatch.setenv("TIERWISE_HEADERS_ENV_PLAIN", "X-Team=TEAM_PASS")
    files = proxy_files(with_names("plain"))
    deployed = yaml.safe_load(files["config.yaml"])["model_list"][1]["litellm_params"]
    assert deployed["extra_headers"] == {"X-Team": "os.environ/TEAM_PASS"}
    assert "team-9876543210" not in "".join(files.values())
