"""`write_report`: a run as a folder of static pages that open from disk: no server, no network, nothing to install.

    index.html       what was run, scores with intervals, paired differences, task types, time
    attempts.html    every attempt step by step, the failed beside the mended
    trees.html       every search tree, and where attempts were spliced together; in runs that have some
    assets/ data/    styles, scripts and plotly; the attempts' texts and pictures, loaded piece by piece

The same run gives the same bytes. Whatever models and environments said is shown as text and never as markup: templates
escape, scripts set `textContent` alone, and the pages' content security policy forbids inline scripts and all requests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import UsageError
from ...loops.measuring.evaluation import Attempt
from ...loops.measuring.tables import interval, p_value, percent, points, short
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from .attempts import PER_STAGE, AttemptFiles, clipped
from .summary import Summary, collected, flat, summarise
from .trees import write_trees

TEMPLATES = Path(__file__).with_name("templates")
ASSETS = ("style.css", "common.js", "charts.js", "browse.js", "attempts.js", "detail.js", "trees.js")
MARK = '<meta name="generator" content="kintsugi report">'
"""Tells a folder that this module wrote from one that it must not replace."""


def write_report(run_folder: Path, out: Path | None = None, *, per_stage: int = PER_STAGE) -> Path:
    """Write the report of a run and return its `index.html`.

    The folder appears whole or not at all. Raises `UsageError` when `run_folder` is no run, when a row of it is
    damaged, and when `out` holds something else than an older report.
    """
    out = run_folder / "report" if out is None else out
    _refuse_foreign(out)
    unfinished = out.with_name(f".{out.name}.unfinished")
    with RunStore.read(run_folder) as store:
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(store, run_folder.resolve().name, unfinished, per_stage)
            if out.exists():
                shutil.rmtree(out)
            unfinished.rename(out)
        except OSError as error:
            raise UsageError(f"{out}: {error}; the run is untouched. Mend the cause or name another folder") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return out / "index.html"


def _write(store: RunStore, name: str, folder: Path, per_stage: int) -> None:
    results = store.results()
    files = AttemptFiles(folder / "data", per_stage, store.pictures.folder)
    attempts: dict[Stage, list[Attempt]] = {}
    training = []
    for stage in store.trajectory_stages():
        trajectories = store.trajectories(stage)
        files.add(stage, trajectories)
        attempts[stage] = [Attempt.of(t) for t in trajectories]
        if stage.kind != "eval":
            training.append(collected(stage, attempts[stage], sum(bool(t.parents) for t in trajectories)))
    shown = files.close()
    trees = write_trees(folder / "data", store, results)
    summary = summarise(attempts, results, training)
    _assets(folder / "assets")
    (folder / "data" / "charts.js").write_text(f"kintsugi.charts({json.dumps(_charts(summary))});\n", encoding="ascii")
    context = {
        "name": name,
        "version": __version__,
        "mark": MARK,
        "shown": shown,
        "trees": trees,
        "per_stage": per_stage,
        "left_out": files.left_out,
        "summary": summary,
        "config": flat(store.config),
        "versions": store.versions,
        "results": {
            str(stage): clipped(json.dumps(value, indent=1, ensure_ascii=False)) for stage, value in results.items()
        },
    }
    for page in ("index.html", "attempts.html", *(["trees.html"] if trees else [])):
        (folder / page).write_text(render(page, context), encoding="utf-8", errors="xmlcharrefreplace")


def render(page: str, context: Mapping[str, Any]) -> str:
    """One page as HTML; every value is escaped, and a name that the context lacks is an error."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(percent=percent, interval=interval, points=points, p_value=p_value, short=short)
    return env.get_template(f"{page}.j2").render(context)


def _assets(folder: Path) -> None:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    folder.mkdir()
    for asset in ASSETS:
        shutil.copyfile(TEMPLATES / asset, folder / asset)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _charts(summary: Summary) -> dict[str, Any]:
    """The numbers behind the charts, in percent and seconds."""
    return {
        "tasksets": [
            {
                "name": f"{tasks}",
                "models": [
                    {
                        "name": m.model,
                        **_point(m.score.success),
                        "seeds": [[seed, 100 * value] for seed, value in m.by_seed.items()],
                        "types": {kind: _point(r) for kind, r in m.score.by_type.items()},
                    }
                    for m in measured
                ],
            }
            for tasks, measured in summary.measured.items()
            if measured
        ],
        "timings": [{"name": str(stage), **timing} for stage, timing in summary.timings.items()],
    }


def _point(rate: Any) -> dict[str, float]:
    return {"value": 100 * rate.value, "low": 100 * rate.low, "high": 100 * rate.high, "n": rate.n}


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    index = out / "index.html"
    if not out.is_dir() or (any(out.iterdir()) and not (index.is_file() and MARK in index.read_text(errors="replace"))):
        raise UsageError(f"{out} holds something else than a report; name a new folder, or empty this one yourself")
