"""Plug-ins: found by name, refused clearly, and hashed with all of their own that they import."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SpecFactory, StudyWriter
from tests.test_trajectory import run
from trainables.acquisition import AcquisitionFunction
from trainables.corpus import Corpus
from trainables.errors import ComputationError, RequestError
from trainables.plugins import check_version, load, named_source, source_hash

SCORE = "from trainables.acquisition import AcquisitionFunction\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, from which a launch could be started; hashes of other tests' files are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    source_hash.cache_clear()
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    source_hash.cache_clear()


class TestLoading:
    def test_a_plugin_is_what_its_name_stands_for(self, folder: Path) -> None:
        write(folder, "plugin_a/scores.py", SCORE + "twice = AcquisitionFunction(lambda x: x, 'mc')\n")
        assert load("plugin_a.scores:twice", AcquisitionFunction, "AcquisitionFunction").prediction == "mc"

    @pytest.mark.parametrize(
        ("text", "name", "message"),
        [
            ("", "no_such_module_of_mine:f", r"no_such_module_of_mine:f cannot be imported \(ModuleNotFoundError: No module named"),
            ("import no_such_library", "plugin_b:f", r"plugin_b:f cannot be imported \(ModuleNotFoundError: No module named 'no_such_lib"),
            ("1 / 0", "plugin_c:f", r"plugin_c:f cannot be imported \(ZeroDivisionError"),
            ("g = 1", "plugin_d:f", r"plugin_d:f is not there: .*plugin_d.py defines no f"),
            ("f = 1", "plugin_e:f", r"plugin_e:f is no AcquisitionFunction: it is of type int"),
        ],
    )
    def test_errors_name_the_plugin_and_the_reason(self, folder: Path, text: str, name: str, message: str) -> None:
        write(folder, f"{name.partition(':')[0]}.py" if text else "other.py", text)
        with pytest.raises(ImportError, match=message):
            load(name, AcquisitionFunction, "AcquisitionFunction")


class TestHash:
    def test_an_edit_is_another_version(self, folder: Path) -> None:
        write(folder, "plugin_f.py", "x = 1\n")
        before = named_source("plugin_f:x")
        write(folder, "plugin_f.py", "x = 1  # but why\n")
        assert named_source("plugin_f:x") != before
        write(folder, "plugin_f.py", "x = 1\n")
        assert named_source("plugin_f:x") == before

    def test_what_it_imports_of_ones_own_is_part_of_it(self, folder: Path) -> None:
        write(folder, "plugin_g/__init__.py", "")
        write(folder, "plugin_g/main.py", "import numpy\nfrom . import near\nfrom plugin_h import far\nx = 1\n")
        write(folder, "plugin_g/near.py", "import plugin_i\n")
        write(folder, "plugin_g/stranger.py", "")
        write(folder, "plugin_h.py", "far = 1\n")
        write(folder, "plugin_i.py", "")
        hashes = [source_hash("plugin_g.main:x")]
        for name in ("plugin_g/main.py", "plugin_g/near.py", "plugin_h.py", "plugin_i.py", "plugin_g/__init__.py"):
            write(folder, name, (folder / name).read_text() + "# edited\n")
            hashes.append(source_hash("plugin_g.main:x"))
        assert len(set(hashes)) == 6
        write(folder, "plugin_g/stranger.py", "edited = 1\n")
        assert source_hash("plugin_g.main:x") == hashes[-1]

    def test_another_version_is_refused(self, folder: Path) -> None:
        write(folder, "plugin_j.py", "x = 1\n")
        check_version(named_source("plugin_j:x"))
        with pytest.raises(ImportError, match=r"plugin_j:x on .* is another version \(plugin_j:x@\w+\) than the launch has"):
            check_version("plugin_j:x@0123")
        with pytest.raises(ImportError, match="module no_such_module_of_mine is not there"):
            check_version("no_such_module_of_mine:x@0123")


class TestInATrajectory:
    """The loop by itself; launches are in test_extending.py."""

    def spec_of(self, spec: SpecFactory, name: str) -> object:
        return spec(acquisition=name, mc_passes=None, plugins=(named_source(name),), label_budgets=(10, 20, 30))

    def test_a_plugin_that_scores_as_a_built_in_acquires_the_same(self, spec: SpecFactory, corpus: Corpus, folder: Path) -> None:
        write(
            folder,
            "plugin_k.py",
            SCORE + "from trainables.scores import entropy\nmine = AcquisitionFunction(lambda x: entropy(x), 'deterministic')\n",
        )
        own = self.spec_of(spec, "plugin_k:mine")
        built_in = spec(acquisition="softmax_entropy", label_budgets=(10, 20, 30))
        assert [r.acquired for r in run(own, corpus)] == [r.acquired for r in run(built_in, corpus)]  # type: ignore[arg-type]
        assert own.trajectory_id != built_in.trajectory_id  # type: ignore[attr-defined]

    def test_each_need_is_met(self, spec: SpecFactory, corpus: Corpus, folder: Path) -> None:
        write(
            folder,
            "plugin_l.py",
            SCORE
            + "import numpy as np\n"
            + "seen = {}\n"
            + "def score(log_probs_NTC, *, features_NH, labelled_features_MH, keys_N, rng):\n"
            + "    seen.update(shapes=(log_probs_NTC.shape, features_NH.shape, labelled_features_MH.shape, keys_N.shape))\n"
            + "    seen.update(draw=rng.random(), keys=keys_N)\n"
            + "    return np.zeros(len(keys_N))\n"
            + "mine = AcquisitionFunction(score, 'deterministic', joint=True, needs=('features', 'labelled', 'keys', 'rng'))\n",
        )
        done = run(self.spec_of(spec, "plugin_l:mine"), corpus)  # type: ignore[arg-type]
        import plugin_l  # type: ignore[import-not-found]

        assert plugin_l.seen["shapes"] == ((100, 1, 2), (100, 8), (20, 8), (100,))
        draw = plugin_l.seen["draw"]
        assert [r.acquired for r in done] == [r.acquired for r in run(spec(label_budgets=(10, 20, 30)), corpus)]  # ties: as random
        run(self.spec_of(spec, "plugin_l:mine"), corpus)  # type: ignore[arg-type]
        assert plugin_l.seen["draw"] == draw
        assert np.unique(plugin_l.seen["keys"]).size == 100

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("raise KeyError('colour')", "the plug-in plugin_{n}:mine failed with KeyError: 'colour'"),
            ("return x[:3, 0, 0]", r"plugin_{n}:mine gave scores of shape \(3,\) for 100 reviews"),
            ("return np.full(len(x), np.inf)", "plugin_{n}:mine gave 100 scores that are not finite, of 100"),
            ("return 'high'", "plugin_{n}:mine gave no array of numbers as scores, but str"),
        ],
    )
    def test_what_it_does_wrong_is_told_with_the_round(
        self, spec: SpecFactory, corpus: Corpus, folder: Path, body: str, message: str
    ) -> None:
        number = abs(hash(body))
        name = f"plugin_{number}"
        write(folder, f"{name}.py", SCORE + f"import numpy as np\ndef f(x):\n    {body}\nmine = AcquisitionFunction(f, 'deterministic')\n")
        with pytest.raises(ComputationError, match=r"trajectory \w+, round 0: " + message.format(n=number)):
            run(self.spec_of(spec, f"{name}:mine"), corpus)  # type: ignore[arg-type]

    def test_another_version_is_not_computed_with(self, spec: SpecFactory, corpus: Corpus, folder: Path) -> None:
        write(folder, "plugin_m.py", SCORE + "mine = AcquisitionFunction(lambda x: x[:, 0, 0], 'deterministic')\n")
        planned = self.spec_of(spec, "plugin_m:mine")
        write(folder, "plugin_m.py", (folder / "plugin_m.py").read_text() + "# edited\n")
        with pytest.raises(ComputationError, match=r"round 0: the plug-in plugin_m:mine on .* is another version"):
            run(planned, corpus)  # type: ignore[arg-type]


CLASSIFIER = """
import numpy as np
from trainables.classifier import Classifier

class Net(Classifier):
    sites = {"output": "output"}

    def draw_weights(self, rng, num_inputs, num_classes):
        return {"words": rng.normal(0, 0.1, (num_inputs, 4)), "output": np.ones((num_classes, 4)), "output_bias": np.zeros(num_classes)}

    def hidden_BH(self, weights, batch):
        return HIDDEN
"""


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("weights['colour']", "the plug-in {name}:Net failed with KeyError: 'colour'"),
        ("weights['words'][batch.token_ids_BL.long()]", "the plug-in {name}:Net failed with RuntimeError: "),
        ("weights['words'][batch.token_ids_BL[:, 0].long()] * float('nan')", "the training loss is nan at gradient step 0"),
    ],
)
def test_what_a_classifier_does_wrong_is_told_with_the_round(
    spec: SpecFactory, corpus: Corpus, folder: Path, hidden: str, message: str
) -> None:
    name = f"classifier_{abs(hash(hidden))}"
    write(folder, f"{name}.py", CLASSIFIER.replace("HIDDEN", hidden))
    with pytest.raises(ComputationError, match=r"trajectory \w+, round 0: " + re.escape(message.format(name=name))):
        run(spec(classifier=f"{name}:Net", plugins=(named_source(f"{name}:Net"),)), corpus)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Net: pass", "is no classifier: it must be a subclass"),
        (CLASSIFIER.replace('"output": "output"', '"output": "ouput"'), "names unknown dropout sites: ouput; there are word, input"),
    ],
)
def test_what_is_no_classifier_is_refused(spec: SpecFactory, corpus: Corpus, folder: Path, text: str, message: str) -> None:
    name = f"classifier_{abs(hash(text))}"
    write(folder, f"{name}.py", text)
    with pytest.raises(ComputationError, match=message):
        run(spec(classifier=f"{name}:Net"), corpus)


def test_a_missing_plugin_is_one_clear_error(study_file: StudyWriter, corpus: Corpus) -> None:
    from sweep.plan import make_plan
    from sweep.study_file import load_study

    study = load_study(study_file(grid={"acquisition": ["random", "no_such_module_of_mine:f"]}))
    with pytest.raises(RequestError, match="the plug-in no_such_module_of_mine:f cannot be imported"):
        make_plan(study, corpus)
