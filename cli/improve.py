"""`kintsugi improve LOOP`: run an improvement loop, and measure the model before and after it on held-out tasks."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console, RenderableType

from ..agents.search import SearchStats
from ..arguments import replace_fields, to_plain
from ..benchmarks.progress import bar
from ..envs.reading import read_text
from ..errors import UsageError
from ..loops.learning import open_learner
from ..loops.learning.sizes import size_defaults, sized, training_text
from ..loops.measuring.evaluation import Score, compare
from ..loops.measuring.gate import verdicts
from ..loops.measuring.measure import Measure, MeasuredAttempts, measure, timing_summary
from ..loops.measuring.tables import comparison_table, score_table, verdict_table
from ..loops.registry import Loop, find_loop
from ..loops.run import Run, resolved
from ..loops.runs.stages import Stage
from ..loops.runs.store import RunStore
from .episode_config import EpisodeConfig


@dataclass(frozen=True)
class Improve(EpisodeConfig):
    """Settings of `kintsugi improve` that all loops share; each loop adds the fields `loop` and `held_out`."""

    run: Path = Path("runs/improve")
    """Folder of the run; repeat the command to resume it."""
    config: Path | None = None
    """A TOML file with values of flags, such as the `config.toml` of a run; flags on the command line override it."""


@dataclass(frozen=True)
class LoopCommand:
    """The command `kintsugi improve` for one loop."""

    loop: Loop[Any]

    @property
    def config(self) -> type[Any]:
        """The dataclass of the command's flags."""
        about = tyro.conf.arg(help="The held-out tasks that the model is measured on before and after the loop.")
        extra_fields = [
            ("env", str, field(default=self.loop.env)),
            ("agent", str, field(default=self.loop.agent)),
            ("loop", self.loop.config, field(default_factory=self.loop.config)),
            ("held_out", Annotated[Measure, about], field(default_factory=lambda: self.loop.held_out)),
        ]
        return make_dataclass("Improve", extra_fields, bases=(Improve,), frozen=True)

    def default(self, arguments: Sequence[str]) -> Any:
        """Return the defaults of the flags: those of the loop, overridden by the file in `--config`.

        Raises `UsageError` if the file cannot be read, or has an unknown key or an invalid value.
        """
        defaults, path = self.config(), _flag_value("--config", arguments)
        if path is None:
            return defaults
        try:
            values = tomllib.loads(read_text(Path(path)))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"cannot read the configuration {path}: {error}; expected a TOML file") from error
        if "command" in values:
            # This is the record of a run. It identifies the model by a hash of its weights, not by its location.
            if values.pop("command") != f"improve {self.loop.name}":
                raise UsageError(
                    f"{path} is not the record of `kintsugi improve {self.loop.name}`; run the command that it names"
                )
            if _flag_value("--model", arguments) is None:
                raise UsageError(
                    f"{path} is the record of a run with model {values.get('model')!r}; "
                    "pass the model's location with --model"
                )
            values.pop("model", None)
        return replace_fields(defaults, values, path)

    @property
    def about(self) -> str:
        """One-line description in the help text."""
        return self.loop.about

    def __call__(self, config: Any, console: Console) -> None:
        """Run the command."""
        improve(self.loop, config, console)


def command(name: str) -> LoopCommand:
    """Return the command of the loop with this name."""
    return LoopCommand(find_loop(name))


def improve(loop: Loop[Any], config: Any, console: Console) -> None:
    """Run or resume `loop`, and print scores, verdicts, comparisons and the findings of the loop."""
    from ..loops.seeds.recipe import demonstrations_of

    env, agent = config.env_spec, config.reader()
    settings, held_out = resolved(config.loop, env), resolved(config.held_out, env)
    # Check tasks, environment and model before the run's folder is created.
    scored_tasks = held_out.task_sets(env)
    settings.validate(env, agent)
    settings.refuse_shared_tasks(env, scored_tasks)
    env.make().close()
    with bar(console) as on_status:
        backend = config.backend(on_status)
        parameters = getattr(backend, "parameters", None)
        settings, held_out = (resolved(sized(each, parameters), env) for each in (config.loop, config.held_out))
        learner = open_learner(backend)
        record = {
            "command": f"improve {loop.name}",
            "model": backend.base,
            **config.record(),
            "loop": to_plain(settings),
            "held_out": to_plain(held_out),
        }
        with RunStore.open(config.run, record) as store:
            store.keeps_pictures, store.on_status = config.pictures, on_status
            demonstrations = demonstrations_of(backend.weights)
            run = Run(store, backend, learner, env, config.agent_spec, demonstrations=demonstrations)
            if parameters and size_defaults(parameters):
                console.print(
                    f"defaults for {parameters / 1e6:,.0f} million parameters: {training_text(settings.fit)}, "
                    f"{settings.attempts.at_once} episodes at once",
                    highlight=False,
                )
            report = list(_run_and_report(run, loop, settings, held_out))
    for line in report:
        console.print(line, soft_wrap=isinstance(line, str), highlight=False)


def _run_and_report(run: Run, loop: Loop[Any], settings: Any, held_out: Measure) -> Iterator[RenderableType]:
    """Measure, run the loop, measure again, and yield everything that is printed."""
    tests = loop.tests(run, settings, held_out)

    def measured(name: str, adapter: Path | None) -> MeasuredAttempts:
        return measure(run, name, adapter, held_out) | {tasks: test(name, adapter) for tasks, test in tests.items()}

    attempts = {"base": measured("base", None)}
    adapter = loop.run(run, settings)
    if adapter is not None:
        attempts[loop.name] = measured(loop.name, adapter)
    results = run.store.results()
    for stage, cost in results.items():
        if stage.kind == "cost":
            yield f"{stage.with_kind('search')}: {SearchStats(**cost)}"
    for tasks in attempts["base"]:
        yield score_table(scores(results, attempts, tasks), f"Success: {tasks}")
    practice_tasks = settings.practice.task_set(run.env, settings.seed)
    for split, scored_tasks in held_out.task_sets(run.env).items():
        if shared := practice_tasks.count_shared(scored_tasks):
            yield (
                f"{shared} of the {len(scored_tasks)} tasks of {split} were practised on; "
                f"the score on {split} is not a held-out score"
            )
    if found := verdicts(results):
        yield verdict_table(found)
    if adapter is not None:
        base_attempts, improved_attempts = attempts["base"], attempts[loop.name]
        for tasks in base_attempts:
            comparison = compare(base_attempts[tasks], improved_attempts[tasks], names=("base", loop.name))
            yield comparison_table([comparison], f"Paired on the same tasks: {tasks}")
    yield from loop.findings(run, settings, held_out, attempts)
    yield timing_summary(run.store.results())
    yield f"adapter: {adapter}" if adapter else "no round was adopted: the gate found no gain"


def scores(results: Mapping[Stage, Any], attempts: Mapping[str, MeasuredAttempts], tasks: str) -> list[Score]:
    """Return the scores of all models on one task set."""
    task_scores = (
        results[Stage.from_model_round("score", name, tasks)]
        for name, measured in attempts.items()
        if tasks in measured
    )
    return [Score.from_json(result) for result in task_scores]


def _flag_value(flag: str, arguments: Sequence[str]) -> str | None:
    """Return the value of a flag, given as `--flag value` or `--flag=value`; None if the flag is absent."""
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
