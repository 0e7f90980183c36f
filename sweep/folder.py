"""The study's folder: what the study is, what was planned, every launch, and which trajectories are finished.

STORAGE/STUDY/
study.yaml        the latest launch's study, every default written out
plan.json         every cell ever asked for -> trajectory id
test_labels.npy   the test reviews' classes: with stored predictions, any metric can be computed again without the reviews
launches/*.json   one per launch
lease.json        who is running it now
trajectories/     a ledger each
report/
tensorboard/      event files, if the study is shown there
wandb/            files of Weights & Biases, if it is shown there
"""

import io
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from sweep.plan import Plan, classifier_source, plan_record
from sweep.study import SCIENCE_SECTIONS, Study
from trainables.corpus import Corpus
from trainables.errors import RequestError
from trainables.ledger import SEALED
from trainables.node import LEASE_FILE, TRAJECTORIES
from trainables.patience import open_patiently
from trainables.spec import SCIENCE_VERSION
from trainables.storage import Storage

STUDY_FILE, PLAN_FILE, TEST_LABELS, LAUNCHES, EVENT_FILES = "study.yaml", "plan.json", "test_labels.npy", "launches", "tensorboard"
FAST_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Ten thousand seeds take a second with the other."""

OWN_NAMES = {STUDY_FILE, PLAN_FILE, TEST_LABELS, LAUNCHES, TRAJECTORIES, LEASE_FILE, "report", EVENT_FILES, "wandb"}


class StudyFolder:
    """One study's folder on storage; nothing is written before the first `save`."""

    def __init__(self, storage: Storage) -> None:
        """`storage` is the study's own folder."""
        self.storage = storage

    @classmethod
    def of(cls, study: Study, storage: str | None = None) -> "StudyFolder":
        """The folder of a study below its storage.

        Raises:
            RequestError: the storage is a URI that cannot be understood.
        """
        location = storage or study.storage
        try:
            return cls(open_patiently(location, study.resources.storage_patience).folder(study.study))
        except (ValueError, OSError) as error:
            raise RequestError(f"storage = {location!r}: {error}; give a folder, or an s3:// or gs:// URI") from error

    @classmethod
    def existing(cls, location: str, patience_seconds: float) -> "StudyFolder":
        """A folder that is there, and is never made again: not on the disk below a storage that went away."""
        return cls(open_patiently(location, patience_seconds, must_exist=True))

    def check(self, study: Study, corpus: Corpus) -> None:
        """Refuse a folder that holds something else, or this study with another science.

        Raises:
            RequestError: with the difference, field by field.
        """
        try:
            names = set(self.storage.names())
        except OSError as error:
            raise RequestError(f"{self.storage.location}: cannot be read as a folder ({error}); give another --storage") from error
        strangers = sorted(names - OWN_NAMES) if STUDY_FILE not in names else []
        nameless = TRAJECTORIES in names and not {STUDY_FILE, PLAN_FILE} <= names
        if strangers or nameless:
            found = ", ".join(strangers[:5]) or f"{TRAJECTORIES} without {STUDY_FILE} and {PLAN_FILE}"
            raise RequestError(f"{self.storage.location} holds something else ({found}); choose another study name or --storage")
        if {STUDY_FILE, PLAN_FILE} <= names:
            changes = self._changes(study, corpus)
            if changes:
                raise RequestError(
                    f"{self.storage.location} holds this study with another science; results are never mixed:\n"
                    + "\n".join(f"  {change}" for change in changes)
                    + "\nGive the changed study another name (study: ...), or undo the change"
                )

    def _changes(self, study: Study, corpus: Corpus) -> list[str]:
        """What differs in science between the folder and the request."""
        plan, place = self.plan(), f"{self.storage.location}/{STUDY_FILE}"
        try:
            written = Study.model_validate(yaml.safe_load(self.storage.read(STUDY_FILE)))
            old_facts = {
                "science_version": plan["science_version"],
                "data.digest": plan["corpus"]["digest"],
                "model.classifier (its source)": plan.get("classifier_source"),
            }
        except ValidationError as error:
            raise RequestError(f"{place} is damaged (it is no study file); restore it, or choose another study name") from error
        except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{place} is damaged ({error!r}); restore it, or choose another study name") from error
        old = written.resolved()  # fields younger than the file have their defaults
        old_science = {section: old[section] for section in SCIENCE_SECTIONS}
        new = study.resolved()
        before = _flat(old_science) | old_facts
        after = _flat({section: new[section] for section in SCIENCE_SECTIONS})
        after |= {
            "science_version": SCIENCE_VERSION,
            "data.digest": corpus.digest,
            "model.classifier (its source)": classifier_source(study),
        }
        changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
        if before["data.digest"] == after["data.digest"]:
            changed = [key for key in changed if not key.startswith("data.")]
        return [f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in changed]

    def plan(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        place = f"{self.storage.location}/{PLAN_FILE}"
        try:
            content = json.loads(self.storage.read(PLAN_FILE))
        except ValueError as error:
            raise RequestError(f"{place} is damaged ({error}); restore it, or choose another study name") from error
        if not isinstance(content, dict) or not {"study", "science_version", "corpus", "cells"} <= set(content):
            raise RequestError(f"{place} is damaged (not a plan); restore it, or choose another study name")
        return content

    def save(self, study: Study, plan: Plan, corpus: Corpus) -> None:
        """Write what the study is now, and add its cells to those of earlier launches."""
        earlier = self.plan() if self.storage.exists(PLAN_FILE) else None
        text = yaml.dump(study.resolved(), Dumper=FAST_DUMPER, sort_keys=False, allow_unicode=True)
        self.storage.write(STUDY_FILE, text.encode())
        self.storage.write(PLAN_FILE, json.dumps(plan_record(plan, study, corpus, earlier)).encode())
        labels = io.BytesIO()
        np.save(labels, corpus.test.labels_N.astype(np.int32))
        self.storage.write(TEST_LABELS, labels.getvalue())

    def write_launch(self, name: str, record: Mapping[str, object]) -> None:
        """Write or replace a launch's record."""
        self.storage.write(f"{LAUNCHES}/{name}.json", (json.dumps(record, indent=1) + "\n").encode())

    def launches(self) -> list[dict[str, Any]]:
        """All launch records, oldest first."""
        return [json.loads(self.storage.read(f"{LAUNCHES}/{name}")) for name in self.storage.names(LAUNCHES)]

    def trajectory(self, trajectory_id: str) -> Storage:
        """The folder of one trajectory."""
        return self.storage.folder(f"{TRAJECTORIES}/{trajectory_id}")

    def finished(self) -> set[str]:
        """Ids of the trajectories that are sealed."""
        return self._having(SEALED, self.storage.names(TRAJECTORIES))

    def failures(self, trajectory_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The failure records of those trajectories whose last attempt failed."""
        failed = self._having("failure.json", self._begun(trajectory_ids))
        return {trajectory_id: json.loads(self.trajectory(trajectory_id).read("failure.json")) for trajectory_id in sorted(failed)}

    def rounds_done(self, trajectory_ids: Iterable[str]) -> dict[str, int]:
        """Finished rounds of trajectories that are not sealed yet."""
        ids = list(trajectory_ids)
        begun = self._begun(ids)
        with ThreadPoolExecutor(16) as pool:
            counts = pool.map(lambda i: sum(name.endswith(".json") for name in self.trajectory(i).names("rounds")), begun)
        return dict.fromkeys(ids, 0) | dict(zip(begun, counts, strict=True))

    def _begun(self, trajectory_ids: Iterable[str]) -> list[str]:
        """Those that have a ledger: of 20,000 planned, asking each one takes seconds, and minutes on an object store."""
        there = set(self.storage.names(TRAJECTORIES))
        return [trajectory_id for trajectory_id in trajectory_ids if trajectory_id in there]

    def _having(self, name: str, trajectory_ids: Iterable[str]) -> set[str]:
        ids = list(trajectory_ids)
        with ThreadPoolExecutor(16) as pool:
            return {i for i, there in zip(ids, pool.map(lambda i: self.trajectory(i).exists(name), ids), strict=True) if there}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
