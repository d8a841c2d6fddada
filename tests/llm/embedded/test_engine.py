from __future__ import annotations

import random
import re
import shutil

import numpy as np
import pytest

from tierwise.errors import InputError
from tierwise.llm.embedded import Engine, decoder, encode, vocabulary
from tierwise.llm.embedded.engine import stream_uniform, streams
from tierwise.schema import Message

THINK = {"reasoning_effort": "high", "temperature": 0.8}
DIRECT = {"reasoning_effort": "none", "temperature": 0.8}


@pytest.fixture(scope="module")
def small():
    return Engine.load("small")


def questions(operations, n, seed=0):
    """Questions and answers, the value kept in 0 … 30."""
    rng, out = random.Random(seed), []
    for _ in range(n):
        value = rng.randint(1, 20)
        text = str(value)
        for _ in range(operations):
            step = rng.choice([s for s in range(-9, 10) if abs(s) > 1 and 0 <= value + s <= 30])
            value, text = value + step, f"{text} {'+' if step > 0 else '-'} {abs(step)}"
        out.append((text, value))
    return out


def prompt(question, params, system="Solve one step at a time."):
    return encode([Message("system", system), Message("user", question)], params)


def mixed(n):
    """Pairs of prompts of many lengths, modes and temperatures, and seeds."""
    pairs = []
    for i, (text, _) in enumerate(q for k in (1, 4, 9) for q in questions(k, n, seed=k)):
        pairs += [(prompt(text, params), 10 * i + d) for params in (THINK, DIRECT) for d in (0, 1)]
    return [p for p, _ in pairs], [s for _, s in pairs]


def test_samples_do_not_depend_on_the_batch_or_on_their_order(small):
    prompts, seeds = mixed(8)
    wide = small.generate(prompts, seeds)
    narrow = small.generate(prompts, seeds, batch=13)
    shuffled = np.random.default_rng(0).permutation(len(prompts))
    again = small.generate([prompts[i] for i in shuffled], [seeds[i] for i in shuffled])
    assert [g.text for g in narrow] == [g.text for g in wide]
    assert [again[k].text for k in np.argsort(shuffled)] == [g.text for g in wide]
    np.testing.assert_allclose(
        [g.logprob_sum for g in narrow], [g.logprob_sum for g in wide], atol=1e-3
    )


def test_the_seed_decides(small):
    p = prompt("7 + 5 - 3 + 9 - 4 + 6 - 8", {**THINK, "temperature": 1.3})
    first = small.generate([p] * 20, list(range(20)))
    assert first == small.generate([p] * 20, list(range(20)))
    assert len({g.text for g in first}) > 1


def test_at_temperature_zero_all_seeds_agree(small):
    p = prompt("7 + 5 - 3 + 9 - 4 + 6 - 8", {**THINK, "temperature": 0})
    assert len({g.text for g in small.generate([p] * 9, list(range(9)))}) == 1


def test_log_probabilities_equal_those_of_a_full_forward_pass(small):
    for params in (THINK, DIRECT):
        p = prompt("9 + 8 - 4 + 11", params)
        (g,) = small.generate([p], [3])
        ends = [vocabulary.ID[vocabulary.END]] * (g.finish_reason == "stop")
        completion = [*vocabulary.ids(vocabulary.words(g.text)), *ends]
        assert len(completion) == g.completion_tokens
        tokens = np.array([[*p.tokens, *completion]])
        hidden, _ = small.decoder.read(tokens)
        logits = small.decoder.logits(hidden[0]).astype(np.float64)
        probabilities = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        first = len(p.tokens) + len(p.cue)
        own = np.log(probabilities[np.arange(first - 1, tokens.size - 1), tokens[0, first:]])
        assert g.n_own_tokens == len(own)
        assert g.logprob_sum == pytest.approx(own.sum(), abs=1e-3)
        assert g.logprob_min == pytest.approx(own.min(), abs=1e-3)


def test_samples_follow_the_probabilities_of_the_model(small):
    """Frequencies of the first token over many seeds, against the softmax at that temperature."""
    p = prompt("9 + 8 - 4 + 11 - 6", {**DIRECT, "temperature": 0.7})
    sampled = small.generate([p] * 3000, list(range(3000)))
    hidden, _ = small.decoder.read(np.array([[*p.tokens, *p.cue]]))
    logits = small.decoder.logits(hidden[0, -1]).astype(np.float64) / 0.7
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    counts = np.bincount(
        [vocabulary.ID[g.text.split()[2]] for g in sampled], minlength=len(expected)
    )
    assert abs(counts / 3000 - expected).max() < 0.04


def test_a_budget_stops_the_work_and_forced_tokens_carry_no_log_probability(small):
    text = "7 + 5 - 3 + 9 - 4 + 6"
    capped = {"thinking": {"budget_tokens": 5}, "temperature": 0.8}
    sampled = small.generate([prompt(text, capped)] * 8, list(range(8)))
    free = small.generate([prompt(text, THINK)] * 8, list(range(8)))
    for g, other in zip(sampled, free, strict=True):
        work, _, answer = g.text.partition(" stop answer : ")
        assert len(work.split()) == 2 + 5
        assert re.fullmatch(r"\d+", answer)
        assert g.completion_tokens == 2 + 5 + 3 + 2
        assert g.n_own_tokens == 5 + 2
        assert work == " ".join(other.text.split()[:7])  # the same chance, cut short
    nothing = encode([Message("user", text)], {"thinking": {"budget_tokens": 0}})
    assert small.generate([nothing], [0])[0].text.startswith("work : stop answer : ")


def test_a_budget_that_is_not_reached_changes_nothing(small):
    text = "7 + 5"
    capped = {"thinking": {"budget_tokens": 90}, "temperature": 0.8}
    ours, theirs = (small.generate([prompt(text, x)], [1])[0] for x in (capped, THINK))
    assert ours == theirs


def test_max_tokens_counts_the_cue_and_ends_a_sample_for_length(small):
    p = prompt("7 + 5 - 3 + 9 - 4 + 6", {**THINK, "max_tokens": 9})
    (g,) = small.generate([p], [0])
    assert (g.completion_tokens, g.finish_reason, len(g.text.split())) == (9, "length", 9)


def test_a_sample_ends_where_the_positions_end(small, monkeypatch):
    monkeypatch.setattr("tierwise.llm.embedded.engine.POSITIONS", 20)
    p = prompt("7 + 5 - 3 + 9 - 4", {**THINK, "max_tokens": 1_000_000})
    (g,) = small.generate([p], [0])
    assert (g.prompt_tokens + g.completion_tokens, g.finish_reason) == (20, "length")


def test_no_prompts_give_no_generations_and_lengths_must_agree(small):
    assert small.generate([], []) == []
    with pytest.raises(ValueError, match="as many seeds"):
        small.generate([prompt("7 + 5", DIRECT)], [])


def test_chance_is_uniform_and_streams_differ():
    stream = streams([11] * 4000, range(4000))
    u = stream_uniform(stream, 3)
    assert len(set(stream.tolist())) == 4000
    assert 0 <= u.min() <= u.max() < 1
    assert abs(u.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(u, stream_uniform(stream, 4))[0, 1]) < 0.05


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_shipped_weights_load_and_are_cached(name):
    engine = Engine.load(name)
    assert engine.name == name
    assert engine is Engine.load(name)


def test_sizes_rise_and_the_weights_stay_small():
    counts = [Engine.load(n).parameters for n in ("small", "medium", "large")]
    assert counts == sorted(counts)
    assert sum(f.stat().st_size for f in decoder.WEIGHTS.glob("*.npz")) <= 1_500_000


def test_an_unknown_name_is_an_error_with_neighbours():
    with pytest.raises(InputError, match=r"'smal'.*'small'"):
        Engine.load("smal")


@pytest.fixture
def copied(tmp_path):
    for name in ("small.npz", decoder.MANIFEST):
        shutil.copyfile(decoder.WEIGHTS / name, tmp_path / name)
    return tmp_path


def test_damaged_weights_are_an_error(copied):
    content = bytearray((copied / "small.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "small.npz").write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        Engine.load("small", copied)


def test_missing_weights_and_a_missing_manifest_are_errors(copied):
    (copied / "small.npz").unlink()
    with pytest.raises(InputError, match="missing"):
        Engine.load("small", copied)
    (copied / decoder.MANIFEST).unlink()
    with pytest.raises(InputError, match="manifest"):
        Engine.load("small", copied)
