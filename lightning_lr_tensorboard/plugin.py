"""The plugin that TensorBoard loads: it serves the page and its data.

TensorBoard does not start if a plugin cannot be imported. So this file imports only what every TensorBoard has, and
the rest when it is first asked for. Whatever fails then ends as a message in the tab.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins.base_plugin import FrontendMetadata, TBPlugin
from werkzeug import wrappers

_STATIC = Path(__file__).parent / "static"
_CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
_JSON = "application/json"


class LearningRatePlugin(TBPlugin):  # type: ignore[misc]
    """The tab "Learning rate".

    Args:
        context: of TensorBoard.
    """

    plugin_name = "lightning_lr"

    def __init__(self, context: Any) -> None:
        self._context = context
        self._reader: Any = None

    def get_plugin_apps(self) -> dict[str, Any]:
        apps = {f"/{path.name}": _file_app(path) for path in _STATIC.iterdir() if path.suffix in _CONTENT_TYPES}
        return {**apps, "/runs": self._app(self._runs), "/data": self._app(self._data)}

    def is_active(self) -> bool:
        """Whether a run has something to show. If that cannot be told, the tab is shown, with the message."""
        try:
            return bool(self._run_reader().versions(_request_context(), ""))
        except Exception:
            return True

    def frontend_metadata(self) -> FrontendMetadata:
        return FrontendMetadata(es_module_path="/index.js", tab_name="Learning rate")

    def _run_reader(self) -> Any:
        if self._reader is None:
            from lightning_lr_tensorboard.reader import RunReader

            self._reader = RunReader(self._context.data_provider, self._context.sampling_hints)
        return self._reader

    def _runs(self, context: Any, experiment: str, _names: list[str]) -> str:
        """Name and version of each run."""
        versions = self._run_reader().versions(context, experiment)
        return json.dumps({"runs": [{"name": name, "version": version} for name, version in versions.items()]})

    def _data(self, context: Any, experiment: str, names: list[str]) -> str:
        """The runs that are asked for, but those that are not there."""
        reader = self._run_reader()
        versions = reader.versions(context, experiment)
        runs = [reader.read(context, experiment, name, versions[name]) for name in names if name in versions]
        return f'{{"runs":[{",".join(runs)}]}}'

    def _app(self, answer: Callable[[Any, str, list[str]], str]) -> Any:
        """The application of a route. An error is a JSON object with its text."""

        @wrappers.Request.application
        def app(request: Any) -> Any:
            try:
                context = plugin_util.context(request.environ)
                experiment = plugin_util.experiment_id(request.environ)
                text, code = answer(context, experiment, request.args.getlist("run")), 200
            except Exception as error:
                details = "".join(traceback.format_exception(error)[-3:])
                text, code = json.dumps({"error": f"{type(error).__name__}: {error}", "details": details}), 500
            return http_util.Respond(request, text, _JSON, code=code)

        return app


def _file_app(path: Path) -> Any:
    @wrappers.Request.application
    def app(request: Any) -> Any:
        return http_util.Respond(request, path.read_bytes(), _CONTENT_TYPES[path.suffix], expires=0)

    return app


def _request_context() -> Any:
    from tensorboard.context import RequestContext

    return RequestContext()
