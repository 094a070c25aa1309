"""Records: what the tab shows beyond scalars, as one text of JSON in the event file.

A record is a tensor summary that the plugin owns. TensorBoard samples the points of scalars, but keeps a record whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING

PLUGIN_NAME = "lightning_lr"

# Digits of a number: as many as a scalar has, which is a 32-bit float.
_DIGITS = 7


def summary_of(tag: str, record: Mapping[str, Any]) -> Summary:
    """The summary that holds a record.

    Args:
        tag: its tag; a later record of the same tag replaces it.
        record: plain types. Numbers that are not finite are written as null.
    """
    text = json.dumps(_for_json(record), allow_nan=False, separators=(",", ":"))
    return Summary(
        value=[
            Summary.Value(
                tag=tag,
                metadata=SummaryMetadata(
                    plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME), data_class=DATA_CLASS_TENSOR
                ),
                tensor=TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto()),
            )
        ]
    )


def record_of(text: bytes | str) -> dict[str, Any]:
    """The record that a text holds.

    Raises:
        ValueError: if it holds none.
    """
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError(f"A record must be an object of JSON, got {type(record).__name__}.")
    return record


def _for_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _for_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_json(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
