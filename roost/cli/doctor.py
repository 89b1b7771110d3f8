"""`roost doctor`: prints what is wrong and what mends it. The looking and judging is done in `roost.doctor`."""

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from roost.cli.output import EXIT_FAILURE, emit, out, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    AsJson,
    Bootstrap,
    DataDir,
    NodeUrl,
    Registry,
    SchemaRegistry,
    Snapshots,
    SurfacesFile,
    registry_of,
    snapshots_of,
    surfaces_file_of,
)
from roost.doctor.examine import Patient, examine
from roost.doctor.finding import Finding, Verdict
from roost.machine.deployment import Deployment
from schemas.topics import DEFAULT_PARTITIONS

_COLOUR = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.WRONG: "red"}


def doctor(
    *,
    surfaces: SurfacesFile = None,
    partitions: Annotated[
        int, typer.Option(envvar="ROOST_PARTITIONS", help="Of every topic keyed by candidate or by user.", min=1)
    ] = DEFAULT_PARTITIONS,
    bootstrap: Bootstrap = None,
    node: NodeUrl = None,
    registry: Registry = None,
    schema_registry: SchemaRegistry = None,
    snapshots: Snapshots = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong, and print what mends it.

    Packages, surfaces, disks, roles, broker, topics, clocks, lags, embedders, bundles, schema registry and the node. Exit code 1
    when something is wrong.

    Example: roost doctor
    """
    deployment = Deployment.find(data_dir.resolve())
    here = deployment is not None and bootstrap is None
    patient = Patient(
        bootstrap=bootstrap or (deployment.bootstrap if deployment else None),
        node_url=node or (deployment.node_url if deployment and "serve" in deployment.roles else None),
        registry=registry_of(registry, data_dir),
        surfaces=surfaces_file_of(surfaces, data_dir),
        data_dir=data_dir.resolve() / "kafka" if here else None,
        snapshots=snapshots_of(snapshots, data_dir) if snapshots or here else None,
        roles=deployment.roles if deployment else {},
        partitions=partitions,
        schema_registry_url=schema_registry,
        restarts=deployment.restarts if deployment else {},
    )
    findings = []
    for finding in examine(patient, bar=partial(phases_bar, transient=True)):
        findings.append(finding)
        if not as_json:
            _print(finding)
    ill = [finding for finding in findings if finding.verdict is Verdict.WRONG]
    data = {"ok": not ill, "findings": [asdict(finding) for finding in findings]}
    emit(data, as_json=as_json, show=lambda: tell(f"{len(ill)} wrong" if ill else "nothing is wrong"))
    if ill:
        raise typer.Exit(EXIT_FAILURE)


def _print(finding: Finding) -> None:
    out.print(f"[{_COLOUR[finding.verdict]}]{finding.verdict:<5}[/]", end="  ")
    tell(f"{finding.check}: {finding.sentence}")
    if finding.fix:
        tell(f"       {finding.fix}")
