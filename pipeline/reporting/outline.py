"""What stands where in the report."""

from __future__ import annotations

from pipeline.reporting.comparisons import alpha_table
from pipeline.reporting.contrasts import Evidence
from pipeline.reporting.data_sections import data, drawn, parameters, trained
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.judgements import Judgements
from pipeline.reporting.newcomers import newcomers
from pipeline.reporting.questions import Questions
from pipeline.reporting.scores import Scores
from pipeline.reporting.sections import Report, Section
from pipeline.reporting.study_sections import compared, found, training
from pipeline.reporting.table import Table


def build(inputs: Inputs) -> Report:
    """The whole report."""
    scores = Scores(inputs.study.results)
    files: list[Table] = []
    alpha = alpha_table(inputs.study.models)
    evidence = questions = None
    of_study: list[Section] = []
    if scores.depths:
        judgements = Judgements(inputs.folders, scores.split)
        evidence = Evidence(scores, judgements, inputs.study.models)
        questions = Questions.of(inputs, evidence)
        of_study = compared(inputs, evidence, questions, alpha, files)
    else:
        of_study = [section for section in [training(inputs, {}, alpha, files)] if section]
    sections = [
        found(inputs, evidence, questions, alpha, files),
        *of_study,
        *(section for section in [newcomers(inputs, files)] if section),
        trained(inputs, files),
        *drawn(inputs, files),
        data(inputs, files),
        parameters(inputs, files),
    ]
    return Report(_subtitle(inputs), sections, files)


def _subtitle(inputs: Inputs) -> str:
    kind = "a synthetic catalogue" if inputs.summary["synthetic"] else "catalogue"
    return (
        f"{kind}: {inputs.summary['users']:,} users, {inputs.summary['items']:,} items, "
        f"{sum(inputs.summary['interactions'].values()):,} interactions "
        f"({inputs.summary['dataset']})"
    )
