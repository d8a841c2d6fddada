import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tierwise.errors import InputError
from tierwise.search.study import importances


def test_what_makes_scores_high_matters_for_the_score(tmp_path):
    """``up`` decides the highest scores, ``down`` the lowest: only the first is of interest."""
    path = tmp_path / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(
        study_name="s",
        storage=storage,
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    for _ in range(80):
        trial = study.ask()
        up, down = trial.suggest_float("up", 0, 1), trial.suggest_float("down", 0, 1)
        score = 0.5 + (0.4 * (up > 0.7)) - (0.4 * (down > 0.7) * (up <= 0.7))
        study.tell(trial, [score, down])
    found = importances(path.read_bytes(), ["s", "unknown"])
    assert list(found) == ["s"]
    assert found["s"]["score"]["up"] > 0.8
    assert found["s"]["usd"]["down"] > 0.8


@pytest.mark.parametrize(
    "damage", [b"\xa0\xff", b'{"op_code": 0, ', b'{"op_code": "x"}\n{"op_code": 99}\n']
)
def test_a_damaged_journal_is_bad_input(tmp_path, damage):
    path = tmp_path / "study.journal"
    path.write_bytes(damage + b"\n{}\n")
    with pytest.raises(InputError, match=r"study\.journal.*no whole journal"):
        importances(path.read_bytes(), ["s"], path)
