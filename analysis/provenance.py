"""Where the results of a report come from: what is there and what is not, that arms are paired, and who computed it with what."""

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping
from typing import Any

from analysis.frames import Results
from sweep.folder import STUDY_FILE
from sweep.provenance import version_of

PACKAGES = ("al-sweep", "numpy", "pandas", "scipy", "matplotlib")
"""What the analysis itself rests on."""

SECONDS = ("train_seconds", "score_seconds", "evaluate_seconds")


def provenance(results: Results) -> dict[str, Any]:
    """Trajectories, gaps, pairing, study, launches, hours, and the command that makes the report again."""
    rounds = results.rounds
    finished = len(rounds.drop_duplicates(["arm", "seed"]))
    hours = float(rounds[list(SECONDS)].sum().sum()) / 3600 if set(SECONDS) <= set(rounds.columns) else None
    return {
        "place": results.place,
        "trajectories": {
            "planned": results.planned,
            "finished": finished,
            "failed": sum(gap.reason.startswith("failed") for gap in results.gaps),
            "missing": sum(not gap.reason.startswith("failed") for gap in results.gaps),
        },
        "gaps": [gap._asdict() for gap in results.gaps],
        "pairing": _pairing(results),
        "corpus": dict(results.corpus) if results.corpus else None,
        "study_sha256": hashlib.sha256(results.folder.storage.read(STUDY_FILE)).hexdigest() if results.folder else None,
        "launches": [_launch(record) for record in results.folder.launches()] if results.folder else [],
        "analysis_versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        "trial_hours": hours,
        "command": shlex.join(
            ["python", "-m", "analysis.report", results.place, *(["--plan", results.plan_file] if results.plan_file else [])]
        ),
    }


def _pairing(results: Results) -> list[dict[str, Any]]:
    """Per seed, the one hash of the initial set and of the initial weights that all its arms share; reading refuses any other."""
    rounds = results.rounds
    if "initial_set_hash" not in rounds or "initial_weights_hash" not in rounds:
        return []
    first = rounds.drop_duplicates(["arm", "seed"])
    return [
        {
            "seed": int(str(seed)),
            "arms": int(rows["arm"].nunique()),
            "initial_set_hash": next(iter(rows["initial_set_hash"].dropna()), None),
            "initial_weights_hash": next(iter(rows["initial_weights_hash"].dropna()), None),
        }
        for seed, rows in first.groupby("seed")
    ]


def _launch(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the report shows of a launch."""
    names = ("begun", "ended", "outcome", "commit", "dirty", "versions", "hardware", "to_run", "estimate", "actual")
    return {name: record.get(name) for name in names} | {"command": shlex.join(["python", *record["command"][1:]])}


def plan_changes(results: Results) -> list[str]:
    """How the analysis plan of this report differs from the one declared at the first launch; empty if it does not."""
    source = f"The plan of {results.plan_file} was used: " if results.plan_file else ""
    if results.folder is None:
        return [f"{source}a table comes without a declared plan, so nothing shows that this one was chosen before the results were seen."]
    launches = results.folder.launches()
    declared = launches[0].get("study", {}).get("analysis") if launches else None
    if declared is None:
        return [f"{source}no analysis plan was declared at the first launch."]
    used = results.plan.model_dump(mode="json")
    return [
        f"{source}analysis.{question}.{key} = {json.dumps(declared.get(question, {}).get(key))} at the first launch, "
        f"{json.dumps(value)} here"
        for question, section in used.items()
        for key, value in section.items()
        if declared.get(question, {}).get(key) != value
    ]
