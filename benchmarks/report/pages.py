"""Write a run as a folder of static pages that open from disk, without a server or network access.

    index.html       settings, scores with intervals, paired differences, task types, time
    attempts.html    every attempt step by step, failed attempts next to the mended ones
    trees.html       every search tree and its splices, if the run has trees
    assets/ data/    styles, scripts and plotly; texts and screenshots of the attempts, loaded on demand

Reports of the same run are identical byte by byte. Text from models and environments is never interpreted as markup:
templates escape it, scripts insert it as text nodes, and the content security policy forbids inline scripts and
requests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import UsageError
from ...loops.measuring.evaluation import AttemptSummary
from ...loops.measuring.statistics import DIFFERENCE_METHOD, RATE_METHOD
from ...loops.measuring.tables import p_value, percent, percent_interval, percentage_points, short_count
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from .attempts import PER_STAGE, AttemptFiles, clipped
from .summary import Summary, collected, flat, summarise
from .trees import write_trees

TEMPLATES = Path(__file__).with_name("templates")
ASSETS = ("style.css", "common.js", "charts.js", "browse.js", "attempts.js", "detail.js", "trees.js")
MARK = '<meta name="generator" content="kintsugi report">'
"""Marks a folder as a report, which may be replaced."""


def write_report(run_folder: Path, out: Path | None = None, *, per_stage: int = PER_STAGE) -> Path:
    """Write the report of a run.

    The folder is written completely or not at all.

    Args:
        run_folder: Folder of the run.
        out: Folder of the report, replaced if it holds an older report; `run_folder/report` when None.
        per_stage: Maximum number of attempts shown per stage.

    Returns:
        The path of the report's `index.html`.

    Raises:
        UsageError: `run_folder` is not a run, a record in it is damaged, or `out` holds something other than a report.
    """
    out = run_folder / "report" if out is None else out
    unfinished = out.with_name(f".{out.name}.unfinished")
    with RunStore.read(run_folder) as store:
        try:
            _check_replaceable(out)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(store, run_folder.resolve().name, unfinished, per_stage)
            if out.exists():
                shutil.rmtree(out)
            unfinished.rename(out)
        except OSError as error:
            raise UsageError(
                f"cannot write the report to {out} ({error}); the run is unchanged; fix the cause or pass another --out"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return out / "index.html"


def _write(store: RunStore, name: str, folder: Path, per_stage: int) -> None:
    results = store.results()
    files = AttemptFiles(folder / "data", per_stage, store.pictures.folder)
    attempts: dict[Stage, list[AttemptSummary]] = {}
    training = []
    for stage in store.trajectory_stages():
        trajectories = store.trajectories(stage)
        files.add(stage, trajectories)
        attempts[stage] = [AttemptSummary.from_trajectory(t) for t in trajectories]
        if stage.kind != "eval":
            training.append(collected(stage, attempts[stage], sum(bool(t.parents) for t in trajectories)))
    attempt_count = files.close()
    trees = write_trees(folder / "data", store, results)
    summary = summarise(attempts, results, training)
    _assets(folder / "assets")
    (folder / "data" / "charts.js").write_text(f"kintsugi.charts({json.dumps(_charts(summary))});\n", encoding="ascii")
    context = {
        "name": name,
        "version": __version__,
        "mark": MARK,
        "shown": attempt_count,
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
    """Render one page as HTML. Values are escaped; a name missing in `context` raises an error."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        percent=percent, interval=percent_interval, points=percentage_points, p_value=p_value, short=short_count
    )
    env.globals.update(rate_method=RATE_METHOD, difference_method=DIFFERENCE_METHOD)
    return env.get_template(f"{page}.j2").render(context)


def _assets(folder: Path) -> None:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    folder.mkdir()
    for asset in ASSETS:
        shutil.copyfile(TEMPLATES / asset, folder / asset)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _charts(summary: Summary) -> dict[str, Any]:
    """Return the data of the charts, in percent and seconds."""
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


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    index = out / "index.html"
    if not out.is_dir() or (any(out.iterdir()) and not (index.is_file() and MARK in index.read_text(errors="replace"))):
        raise UsageError(
            f"{out} holds something other than a report; choose a new folder with --out, or empty this folder"
        )
