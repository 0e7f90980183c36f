"""What a study file may say: its sections, and what must hold between them.

Strict and frozen. Short forms are expanded on reading, so ``study.yaml`` in the results shows what was meant. ``study_file.py`` reads the
YAML and explains what is wrong.
"""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sweep.analysis_plan import AnalysisPlan, ArmChoice, default_arm
from sweep.data_sections import Data, FeaturesData, source_of
from sweep.fields import Section
from sweep.sections import Baseline, Grid, Model, Protocol, Resources, Trackers, Training
from trainables.acquisition import ACQUISITIONS
from trainables.spec import SITES, SITES_OF


class Study(Section):
    """One study file, resolved."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name, and so the folder of the results."""
    data: Data
    """The reviews."""
    model: Model = Model()
    """The classifier."""
    training: Training = Training()
    """How a round's network is trained."""
    protocol: Protocol
    """When labels are asked for, and what is measured."""
    grid: Grid
    """The axes: what is compared with what."""
    baseline: Baseline = Baseline()
    """What the arms are compared with."""
    analysis: AnalysisPlan = AnalysisPlan()
    """What will be tested, at which level and by which margin."""
    resources: Resources = Resources()
    """What a trial is given."""
    trackers: Trackers = Trackers()
    """Where rounds are shown beside the ledger."""
    storage: str = "results"
    """Folder, or ``s3://`` or ``gs://`` URI, that holds the study's folder."""

    @model_validator(mode="after")
    def _arm_is_in_the_grid(self) -> Self:
        arm, grid = self.analysis.q1.arm, self.grid
        if arm is None:
            return self
        known = ACQUISITIONS.get(arm.acquisition)  # of a plug-in it is not known here whether it needs passes
        passes: list[int | None] = [None] if known is None or known.prediction != "mc" else []
        if known is None or known.prediction == "mc":
            passes += grid.mc_passes
        axes: list[tuple[str, object, tuple[object, ...]]] = [
            ("acquisition", arm.acquisition, grid.acquisition),
            ("dropout_rate", arm.dropout_rate, grid.dropout_rate),
            ("mc_passes", arm.mc_passes, tuple(passes)),
        ]
        for name, value, axis in axes:
            if value not in axis:
                raise ValueError(f"analysis.q1.arm.{name} = {value!r} must be one of grid.{name}: {', '.join(map(str, axis))}")
        if arm.acquisition == "random":
            raise ValueError("analysis.q1.arm.acquisition must be an acquisition function other than random, which it is compared with")
        return self

    @model_validator(mode="after")
    def _classifier_reads_the_data(self) -> Self:
        given = {site for site, rate in self.model.site_dropout.model_dump().items() if rate is not None}
        sites = SITES_OF.get(self.classifier, SITES)
        if not given <= set(sites):
            lacking = ", ".join(sorted(given - set(sites)))
            raise ValueError(f"model.site_dropout: {self.classifier} has no site {lacking}; it must be one of {', '.join(sites)}")
        if not set(sites) - given:
            raise ValueError("model.site_dropout: one site must follow grid.dropout_rate, or that axis means nothing")
        reads = {"mlp": True, "lstm": False}.get(self.classifier)
        has = {"features": True, "plugin": None}.get(source_of(self.data) or "", False)
        if None not in (reads, has) and reads != has:
            raise ValueError(
                f"model.classifier = {self.classifier!r} must be {'mlp' if has else 'lstm'} or a plug-in for data.source {self.data.source}"
            )
        return self

    @property
    def classifier(self) -> str:
        """The classifier's name: the given one, or what the data ask for."""
        return self.model.classifier or ("mlp" if isinstance(self.data, FeaturesData) else "lstm")

    @property
    def confirmatory_arm(self) -> ArmChoice | None:
        """The arm that answers Q1: the declared one, or the default for this grid."""
        grid = self.grid
        return self.analysis.q1.arm or default_arm(self.analysis.q2, grid.acquisition, grid.dropout_rate, grid.mc_passes)

    def resolved(self) -> dict[str, Any]:
        """Plain values with every default and every short form written out."""
        content = self.model_dump(mode="json")
        content["protocol"]["eval_mc_budgets"] = list(self.protocol.mc_budgets)
        content["model"]["classifier"] = self.classifier
        arm = self.confirmatory_arm
        content["analysis"]["q1"]["arm"] = arm and arm.model_dump(mode="json")
        return content


SCIENCE_SECTIONS = ("data", "model", "training", "protocol")
"""The sections that a study may not change under the same name; the data are compared by digest, not by path."""
