"""Reads runs from TensorBoard's data provider, in the form that the page shows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tensorboard.data.provider import RunTagFilter

from lightning_lr_tensorboard import old_logs
from lightning_lr_tensorboard.record import PLUGIN_NAME, record_of
from lightning_lr_tensorboard.tags import is_read, is_shown, role_of, without_prefix

_SCALARS = "scalars"
# A record of a tag replaces the earlier one. But of cycles there is one for each part of a run that was resumed.
_MOST_RECORDS = 100
# TensorBoard's default for scalars, and what stands for "all".
_DEFAULT_POINTS, _ALL_POINTS = 1000, 10**7
# Runs whose answers are kept, each of at most some 100 KB.
_MOST_KEPT = 500


class _Kept(NamedTuple):
    version: str
    text: str


class RunReader:
    """Reads runs, and keeps what it read until a run grows.

    Args:
        data_provider: of TensorBoard.
        sampling_hints: of TensorBoard's ``--samples_per_plugin``: number of points by plugin, 0 for all.
    """

    def __init__(self, data_provider: Any, sampling_hints: Mapping[str, int] | None) -> None:
        self._provider = data_provider
        self._points = (sampling_hints or {}).get(_SCALARS, _DEFAULT_POINTS) or _ALL_POINTS
        self._kept: dict[tuple[str, str], _Kept] = {}

    def versions(self, context: Any, experiment: str) -> dict[str, str]:
        """The runs that the page shows, each with a text that changes when the run grows."""
        scalars = self._provider.list_scalars(context, experiment_id=experiment, plugin_name=_SCALARS)
        tensors = self._provider.list_tensors(context, experiment_id=experiment, plugin_name=PLUGIN_NAME)
        versions = {}
        for run in sorted({*scalars, *tensors}):
            named = {without_prefix(tag): series for tag, series in scalars.get(run, {}).items()}
            read = {tag: series for tag, series in named.items() if is_read(tag)}
            records = tensors.get(run, {})
            if records or is_shown(read):
                series = [*read.values(), *records.values()]
                latest = [max(each.max_step for each in series), max(each.max_wall_time for each in series)]
                versions[run] = "-".join(map(str, [len(series), *latest]))
        return versions

    def read(self, context: Any, experiment: str, run: str, version: str) -> str:
        """A run as JSON.

        Args:
            context: of the request.
            experiment: as TensorBoard calls it.
            run: name of the run.
            version: as `versions` gives it. While it stays the same, nothing is read again.
        """
        key = (experiment, run)
        kept = self._kept.get(key)
        if kept is None or kept.version != version:
            scalars = self._read_scalars(context, experiment, run)
            records, warnings = self._read_records(context, experiment, run)
            try:
                text = _as_json(run, version, scalars, records, warnings)
            except Exception as error:  # a record of another version must hide neither the scalars nor other runs
                told = f"The records of this run cannot be read: {type(error).__name__}: {error}"
                text = _as_json(run, version, scalars, [], [*warnings, told])
            self._kept.pop(key, None)  # so that the first is the one that was read longest ago
            kept = self._kept[key] = _Kept(version, text)
            for oldest in list(self._kept)[:-_MOST_KEPT]:
                self._kept.pop(oldest, None)  # another thread may have done so
        return kept.text

    def _read_scalars(self, context: Any, experiment: str, run: str) -> dict[str, dict[int, float]]:
        """Step -> value of each tag, without the prefix of a logger. Values that are not finite are left out."""
        listed = self._provider.list_scalars(
            context, experiment_id=experiment, plugin_name=_SCALARS, run_tag_filter=RunTagFilter(runs=[run])
        )
        tags = [tag for tag in listed.get(run, {}) if is_read(without_prefix(tag))]
        if not tags:
            return {}
        found = self._provider.read_scalars(
            context,
            experiment_id=experiment,
            plugin_name=_SCALARS,
            downsample=self._points,
            run_tag_filter=RunTagFilter(runs=[run], tags=tags),
        )
        return {
            without_prefix(tag): {each.step: each.value for each in points if math.isfinite(each.value)}
            for tag, points in sorted(found.get(run, {}).items())
        }

    def _read_records(self, context: Any, experiment: str, run: str) -> tuple[list[dict[str, Any]], list[str]]:
        """The records, each with the first part of its tag, and a sentence for each that cannot be read."""
        found = self._provider.read_tensors(
            context,
            experiment_id=experiment,
            plugin_name=PLUGIN_NAME,
            downsample=_MOST_RECORDS,
            run_tag_filter=RunTagFilter(runs=[run]),
        )
        records: list[dict[str, Any]] = []
        warnings: list[str] = []
        for tag, points in sorted(found.get(run, {}).items()):
            for point in points if "cyclical_lr" in tag else points[-1:]:
                record, warning = _read_record(tag, point)
                records += record
                warnings += warning
        return records, warnings


def _as_json(
    run: str,
    version: str,
    scalars: Mapping[str, Mapping[int, float]],
    records: list[dict[str, Any]],
    warnings: list[str],
) -> str:
    known = {record["prefix"] for record in records}
    of_kind = {kind: [each for each in records if each.get("kind") == kind] for kind in ("range_test", "search")}
    training: dict[str, dict[str, Any]] = {"lr": {}, "loss": {}, "alignment": {}, "log10_scale": {}}
    for tag, points in scalars.items():
        role = role_of(tag)
        if role == "scale":  # of logs of older versions
            logs = {step: math.log10(value) for step, value in points.items() if value > 0}
            training["log10_scale"][tag.replace("/scale/", "/log10_scale/")] = _columns(logs)
        elif role is not None:
            training[role][tag] = _columns(points)
    contents = {
        "name": run,
        "version": version,
        "range_tests": _in_order([*of_kind["range_test"], *old_logs.range_tests(scalars, known)]),
        "searches": _in_order([*of_kind["search"], *old_logs.searches(scalars, known)]),
        "training": training,
        "cycles": _cycle_starts(records),
        "warnings": warnings,
    }
    return json.dumps(contents, allow_nan=False, separators=(",", ":"))


def _read_record(tag: str, point: Any) -> tuple[list[dict[str, Any]], list[str]]:
    try:
        return [{**record_of(point.numpy.item()), "prefix": tag.rpartition("/")[0]}], []
    except (ValueError, AttributeError, RecursionError) as error:
        return [], [f"The record {tag} cannot be read: {error}"]


def _columns(points: Mapping[int, float]) -> dict[str, list[float]]:
    steps = sorted(points)
    return {"steps": steps, "values": [points[step] for step in steps]}  # type: ignore[dict-item]


def _in_order(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: (record.get("step", 0), record["prefix"]))


def _cycle_starts(records: Iterable[dict[str, Any]]) -> list[list[int]]:
    """Cycle and first step, of the first optimizer that has cycles."""
    of_cycles = [record for record in records if record.get("kind") == "cycles"]
    starts: dict[int, int] = {}
    for each in of_cycles:
        if each["prefix"] == of_cycles[0]["prefix"]:
            (cycle, step), *others = each["starts"]
            # A run that is resumed within a cycle gives the step at which it goes on.
            starts |= {cycle: min(step, starts.get(cycle, step)), **dict(others)}
    return [[cycle, starts[cycle]] for cycle in sorted(starts)]
