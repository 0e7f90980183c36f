"""Study files: short forms, defaults written out, and errors that name place, value, rule and remedy, all at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweep.sections import Protocol
from sweep.study import Study
from sweep.study_file import load_study
from tests.conftest import TINY_STUDY, StudyWriter
from trainables.errors import RequestError


def errors_of(path: Path, *overrides: str) -> str:
    with pytest.raises(RequestError) as caught:
        load_study(path, overrides)
    return str(caught.value)


def test_defaults_are_written_out_and_read_back(study_file: StudyWriter) -> None:
    study = load_study(study_file())
    resolved = study.resolved()
    assert resolved["training"]["gradient_clip"] == 1.0
    assert resolved["baseline"] == {"full_data": True}
    assert resolved["grid"]["seeds"] == [0, 1]
    assert resolved["protocol"]["eval_mc_budgets"] == [40]
    assert resolved["analysis"]["q1"]["arm"] == {"acquisition": "entropy", "dropout_rate": 0.25, "mc_passes": 3}
    assert resolved["analysis"]["q2"]["delta"] == 0.0025
    again = Study.model_validate(resolved)
    assert again.resolved() == resolved
    assert again.protocol.mc_budgets == study.protocol.mc_budgets


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(3, (0, 1, 2)), ([5, 2], (5, 2)), ("100-102", (100, 101, 102)), ("1,7-8", (1, 7, 8))],
)
def test_seeds(study_file: StudyWriter, seeds: object, expected: tuple[int, ...]) -> None:
    assert load_study(study_file(grid={"seeds": seeds})).grid.seeds == expected


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        ({"start": 200, "stop": 1000, "step": 200}, (200, 400, 600, 800, 1000)),
        ({"start": 100, "stop": 450, "step": 200}, (100, 300, 450)),
        ({"start": 100, "stop": 400, "growth": 2}, (100, 200, 400)),
        ({"start": 250, "stop": 500, "growth": 1.25}, (250, 312, 391, 488, 500)),
        ([7, 9], (7, 9)),
    ],
)
def test_label_budgets(budgets: object, expected: tuple[int, ...]) -> None:
    assert Protocol.model_validate({"label_budgets": budgets}).label_budgets == expected


@given(st.integers(1, 500), st.integers(1, 5000), st.floats(1.001, 4))
def test_growing_budgets_rise_strictly_and_end_at_stop(start: int, more: int, growth: float) -> None:
    budgets = Protocol.model_validate({"label_budgets": {"start": start, "stop": start + more, "growth": growth}}).label_budgets
    assert budgets[0] == start
    assert budgets[-1] == start + more
    assert list(budgets) == sorted(set(budgets))


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"dropout_rate": [0.1, 0.25, 0.5], "mc_passes": [5, 10, 20, 50]}, ("entropy", 0.25, 10)),
        ({"dropout_rate": [0.0, 0.5], "mc_passes": [1, 8]}, ("entropy", 0.5, 8)),
        ({"acquisition": ["random", "bald"]}, ("bald", 0.25, 3)),
        ({"acquisition": ["softmax_margin"], "dropout_rate": [0.0, 0.5]}, ("softmax_margin", 0.0, None)),
        ({"acquisition": ["random"]}, None),
    ],
)
def test_the_confirmatory_arm_is_the_middle_of_the_grid(study_file: StudyWriter, grid: dict[str, Any], expected: object) -> None:
    arm = load_study(study_file(grid=grid)).confirmatory_arm
    assert (arm and (arm.acquisition, arm.dropout_rate, arm.mc_passes)) == expected


@pytest.mark.parametrize(("given_", "expected"), [("all", (10, 20, 30, 40)), ("last", (40,)), ("none", ()), ([20, 40], (20, 40))])
def test_eval_mc_budgets(study_file: StudyWriter, given_: object, expected: tuple[int, ...]) -> None:
    assert load_study(study_file(protocol={"eval_mc_budgets": given_})).protocol.mc_budgets == expected


def test_overrides(study_file: StudyWriter) -> None:
    overrides = ["grid.seeds=5", "training.learning_rate=0.5", "model.site_dropout.word=0.0", "grid.dropout_rate=[0.1,0.2]"]
    study = load_study(study_file(), overrides)
    assert len(study.grid.seeds) == 5
    assert study.training.learning_rate == 0.5
    assert study.model.site_dropout.word == 0.0
    assert study.grid.dropout_rate == (0.1, 0.2)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"grid": {"aquisition": ["random"]}}, "unknown key grid.aquisition; did you mean acquisition?"),
        ({"trainning": {}}, "unknown key trainning; did you mean training?"),
        ({"data": {"max_token": 3}}, "unknown key data.max_token; did you mean max_tokens?"),
        ({"grid": {"acquisition": ["random", "blad"]}}, "grid.acquisition[1] = 'blad' must be one of random, softmax_entropy"),
        ({"grid": {"acquisition": ["blad"]}}, "did you mean bald?"),
        ({"grid": {"dropout_rate": [0.1, 0.5, 1.2]}}, "grid.dropout_rate[2] = 1.2 must be less than 1"),
        ({"grid": {"dropout_rate": -0.1}}, "grid.dropout_rate[0] = -0.1 must be greater than or equal to 0"),
        ({"grid": {"mc_passes": 0}}, "grid.mc_passes[0] = 0 must be greater than or equal to 1"),
        ({"grid": {"seeds": [1, 1]}}, "grid.seeds = [1, 1] must be each value once"),
        ({"grid": {"seeds": 0}}, "grid.seeds = 0 must have at least 1 item"),
        ({"grid": {"mc_passes": []}}, "grid.mc_passes = [] must have at least 1 item"),
        ({"grid": {"acquisition": [["random"]]}}, "grid.acquisition[0] = ['random'] must be one of random"),
        ({"grid": 3}, "grid = 3 must be a section: keys and values of its own"),
        ({"training": {"learning_rate": "1e-5"}}, "YAML reads 1e-5 as text: write 1.0e-05"),
        ({"protocol": {"label_budgets": {"start": 1, "stop": float("inf"), "step": 1}}}, "must be a list of numbers of labels"),
        ({"protocol": {"label_budgets": {"start": 1, "stop": 10**9, "step": 1}}}, "at most 10,000 budgets"),
        ({"protocol": {"eval_mc_budgets": "some"}}, "eval_mc_budgets = 'some' must be all, last, none, or a list of label budgets"),
        ({"protocol": {"pool_subsample": 0}}, "protocol.pool_subsample = 0 must be a number of reviews, at least 1, or all"),
        ({"grid": {"seeds": "a-b"}}, "grid.seeds = 'a-b' must be a number of seeds"),
        ({"training": {"learning_rate": "1e-3"}}, "training.learning_rate = '1e-3' must be number; YAML reads 1e-3 as text: write 0.001"),
        ({"training": {"epochs": "many"}}, "training.epochs = 'many' must be number"),
        ({"training": {"batch_size": 8.5}}, "training.batch_size = 8.5 must be integer"),
        ({"training": {"warm_start": "yes"}}, "training.warm_start = 'yes' must be boolean"),
        ({"model": {"pooling": "men"}}, "model.pooling = 'men' must be 'mean', 'last' or 'max'"),
        ({"protocol": {"label_budgets": [40, 20]}}, "label_budgets must rise strictly"),
        ({"protocol": {"label_budgets": {"start": 1, "stop": 9}}}, "must be a list of numbers of labels, or {start, stop, growth}"),
        ({"protocol": {"label_budgets": {"start": 9, "stop": 9, "step": 1}}}, "stop above start"),
        (
            {"protocol": {"eval_mc_budgets": [15]}},
            "protocol: eval_mc_budgets must be label budgets, but [15] are not; choose from",
        ),
        (
            {"data": {"source": "imbd"}},
            "data.source = 'imbd' must be one of imdb, csv, features, synthetic, or a plug-in as package.module:name; did you mean imdb?",
        ),
        (
            {"model": {"site_dropout": {"word": 0.1, "input": 0.1, "recurrent": 0.1, "output": 0.1}}},
            "model.site_dropout: one site must follow grid.dropout_rate",
        ),
        ({"study": "../escape"}, "study = '../escape' must"),
        ({"analysis": {"q3": {}}}, "unknown key analysis.q3"),
        ({"analysis": {"q1": {"margn": 0.01}}}, "unknown key analysis.q1.margn; did you mean margin?"),
        ({"analysis": {"q1": {"margin": 0}}}, "analysis.q1.margin = 0 must be greater than 0"),
        ({"analysis": {"q1": {"metric": "f1"}}}, "analysis.q1.metric = 'f1' must be 'accuracy_deterministic' or 'accuracy_mc'"),
        (
            {"analysis": {"q1": {"arm": {"acquisition": "bald", "dropout_rate": 0.25}}}},
            "analysis.q1.arm.acquisition = 'bald' must be one of grid.acquisition: random, entropy",
        ),
        (
            {"analysis": {"q1": {"arm": {"acquisition": "entropy", "dropout_rate": 0.25, "mc_passes": 4}}}},
            "analysis.q1.arm.mc_passes = 4 must be one of grid.mc_passes: 3",
        ),
        (
            {"analysis": {"q1": {"arm": {"acquisition": "entropy", "dropout_rate": 0.25, "passes": 3}}}},
            "unknown key analysis.q1.arm.passes; did you mean mc_passes?",
        ),
        ({"analysis": {"q2": {"mc": "softmax_entropy"}}}, "analysis.q2.mc = 'softmax_entropy' must be one of entropy, margin"),
        ({"resources": {"gpu": float("nan")}}, "resources.gpu = nan must be"),
    ],
)
def test_errors_name_place_value_rule_and_remedy(study_file: StudyWriter, sections: dict[str, Any], message: str) -> None:
    path = study_file(**sections)
    told = errors_of(path)
    assert message in told
    assert told.startswith(f"{path}: ")
    assert len(told.splitlines()) == 1


def test_all_errors_at_once(study_file: StudyWriter) -> None:
    path = study_file(grid={"dropout_rate": 2.0, "sedes": 3}, training={"epochs": -1}, model={"hidden_dim": "big"})
    assert len(errors_of(path).splitlines()) == 4


def test_a_missing_section(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in TINY_STUDY.items() if name != "grid"}))
    assert errors_of(path) == f"{path}: grid is missing; it has no default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "is a mapping of sections"),
        ("", "is a mapping"),
        ("study: a\nstudy: b", "'study' is given more than once"),
    ],
)
def test_what_is_no_study_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert message in errors_of(path)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in errors_of(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.seeds", "--set grid.seeds: must be key=value"),
        ("grid.sedes=3", "--set: unknown key grid.sedes; did you mean seeds?"),
        ("grid.dropout_rate=1.5", "--set: grid.dropout_rate[0] = 1.5 must be less than 1"),
        ("study.name=3", "study is not a section"),
        ("grid.seeds=[1", "the value is not valid YAML"),
    ],
)
def test_errors_in_overrides_say_that_they_are(study_file: StudyWriter, override: str, message: str) -> None:
    assert message in errors_of(study_file(), override)
