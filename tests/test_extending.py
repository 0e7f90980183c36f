"""Plug-ins and data of one's own through real launches, from the folder in which a user would keep them, to a report."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.conftest import TINY_STUDY
from trainables.sources.synthetic import SyntheticSource

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs Python in a folder that is not the project's."""

    def run(*arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done

    return run


def report_of(study_folder: Path) -> dict[str, Any]:
    assert (study_folder / "report" / "report.html").stat().st_size > 10_000
    found: dict[str, Any] = json.loads((study_folder / "report" / "report.json").read_text())
    return found


def test_the_examples_run_as_they_are_written(tmp_path: Path, command: Command) -> None:
    """Data, classifier and acquisition functions of docs/examples, in one study, to a report; an edited plug-in is computed anew."""
    for path in EXAMPLES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    command("make_reviews.py")
    command("-m", "sweep.launch", "my_study.yaml")
    study = tmp_path / "results" / "stars"
    report = report_of(study)
    assert {row["acquisition"] for row in report["curves"]} >= {"my_acquisition:mode_disagreement", "my_acquisition:spread_entropy"}
    assert report["source"].startswith("my_data:starred@")
    first = {path.name for path in (study / "trajectories").iterdir()}
    assert len(first) == 12

    edited = tmp_path / "my_acquisition.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    command("-m", "sweep.launch", "my_study.yaml", "--seeds", "0")
    assert len({path.name for path in (study / "trajectories").iterdir()} - first) == 2  # the two arms of the plug-in, seed 0
    cells = json.loads((study / "plan.json").read_text())["cells"]
    assert {cell["seed"] for cell in cells if cell["acquisition"].startswith("my_")} == {0, 1}
    planned = {cell["trajectory_id"] for cell in cells if cell["acquisition"].startswith("my_")}
    assert not planned & first  # results of the old version are in no arm any more

    classifier = tmp_path / "my_classifier.py"
    classifier.write_text(classifier.read_text() + "\n# edited\n")
    refused = command("-m", "sweep.launch", "my_study.yaml", expected=2)
    assert "model.classifier (its source): 'my_classifier:AveragedWords@" in refused.stderr


PROBLEMS = """
import sys
import numpy as np
from trainables.acquisition import AcquisitionFunction

calls = 0


def _third_round(log_probs_NTC):
    global calls
    calls += 1
    if calls == 4:
        raise RuntimeError("a bug that shows late")
    return log_probs_NTC[:, 0, 0]


not_a_number = AcquisitionFunction(lambda x: np.full(len(x), np.nan), "deterministic")
wrong_shape = AcquisitionFunction(lambda x: x[:, 0], "deterministic")
third_round = AcquisitionFunction(_third_round, "deterministic")
"""

ONLY_HERE = """
import sys
from trainables.acquisition import AcquisitionFunction

if "default_worker" in sys.argv[0]:
    raise ImportError("no such library on this worker")
missing = AcquisitionFunction(lambda x: x[:, 0, 0], "deterministic")
"""


def test_plugins_that_misbehave_are_named_with_their_round_and_the_others_finish(tmp_path: Path, command: Command) -> None:
    (tmp_path / "problems.py").write_text(PROBLEMS)
    (tmp_path / "only_here.py").write_text(ONLY_HERE)
    broken = ["problems:not_a_number", "problems:wrong_shape", "problems:third_round", "only_here:missing"]
    content = TINY_STUDY | {"grid": {"seeds": 1, "acquisition": ["random", "softmax_entropy", *broken], "dropout_rate": 0.25}}
    content["protocol"] = TINY_STUDY["protocol"] | {"label_budgets": [10, 20, 30, 40, 50]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    done = command("-m", "sweep.launch", "study.yaml", expected=1)
    study = tmp_path / "results" / "tiny"
    failures = {}
    for path in study.glob("trajectories/*/failure.json"):
        failure = json.loads(path.read_text())
        failures[json.loads((path.parent / "spec.json").read_text())["acquisition"]] = failure["error"]
    assert set(failures) == set(broken)
    expected = {
        "problems:not_a_number": "round 0: problems:not_a_number gave 100 scores that are not finite, of 100",
        "problems:wrong_shape": "round 0: problems:wrong_shape gave scores of shape (100, 2) for 100 reviews",
        "problems:third_round": "round 3: the plug-in problems:third_round failed with RuntimeError: a bug that shows late",
        "only_here:missing": "round 0: the plug-in only_here:missing cannot be imported (ImportError: no such library on this worker)",
    }
    for name, message in expected.items():
        assert message in failures[name]
        assert message in " ".join(done.stdout.split())
    sealed = [
        json.loads((path.parent / "spec.json").read_text())["acquisition"] for path in study.glob("trajectories/*/trajectory.parquet")
    ]
    assert sorted(sealed) == ["full_data", "random", "softmax_entropy"]
    assert report_of(study)["interim"]

    (tmp_path / "only_here.py").write_text(ONLY_HERE.replace("raise ImportError", "pass  #"))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content | {"grid": content["grid"] | {"acquisition": ["random", *broken]}}))
    again = command("-m", "sweep.launch", "study.yaml", "--only", "failed", expected=1)
    assert "no such library" not in again.stdout  # the mended plug-in is another trajectory, which has not failed


def test_a_csv_of_three_classes_to_a_report(tmp_path: Path, command: Command) -> None:
    """Margin, least confidence and entropy are three arms here; with two classes they are one, and the plan says so."""
    for num_classes, name in ((3, "three"), (2, "two")):
        texts = SyntheticSource(200, 0, num_classes, 0).read()
        lines = ["text,label", *(f'"{text}",grade {label}' for text, label in zip(texts.train_texts, texts.train_labels, strict=True))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        names = ["random", "softmax_entropy", "entropy", "margin", "least_confidence"]
        content = TINY_STUDY | {"study": name, "data": {"source": "csv", "path": f"{name}.csv", "max_tokens": 30}}
        content["grid"] = {"seeds": 1, "acquisition": names, "dropout_rate": 0.25, "mc_passes": 3}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    plan = json.loads(command("-m", "sweep.launch", "two.yaml", "--dry-run", "--json").stdout)
    assert plan["merged"] == {f"{twin} ranks as entropy does with two classes": 1 for twin in ("margin", "least_confidence")}
    assert plan["trajectories"] == 4
    plan = json.loads(command("-m", "sweep.launch", "three.yaml", "--dry-run", "--json").stdout)
    assert (plan["merged"], plan["trajectories"]) == ({}, 6)
    command("-m", "sweep.launch", "three.yaml")
    report = report_of(tmp_path / "results" / "three")
    assert {row["acquisition"] for row in report["curves"]} == {*names}


def test_features_to_a_report(tmp_path: Path, command: Command) -> None:
    """Three Gaussian classes as vectors: learned by the head, and far more than by chance."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=600)
    np.save(tmp_path / "x.npy", rng.normal(size=(600, 12)) + 2.0 * np.eye(12)[labels])
    np.save(tmp_path / "y.npy", np.array(["bad", "fair", "good"])[labels])
    content = TINY_STUDY | {"study": "vectors", "data": {"source": "features", "path": "x.npy", "labels": "y.npy"}}
    content["model"] = {"hidden_dim": 16}
    content["training"] = {"learning_rate": 0.01, "min_steps": 60, "prior_length_scale": 0.1}
    content["grid"] = {"seeds": 2, "acquisition": ["random", "softmax_entropy", "entropy", "bald"], "dropout_rate": 0.25, "mc_passes": 5}
    (tmp_path / "vectors.yaml").write_text(yaml.safe_dump(content))
    command("-m", "sweep.launch", "vectors.yaml")
    report = report_of(tmp_path / "results" / "vectors")
    resolved = yaml.safe_load((tmp_path / "results" / "vectors" / "study.yaml").read_text())
    assert resolved["model"]["classifier"] == "mlp"
    assert all(row["budgets"][-1]["estimate"] > 0.7 for row in report["curves"])
