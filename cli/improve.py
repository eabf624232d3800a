"""`kintsugi improve LOOP`: run one loop of the registry, and measure the model before and after on held-out tasks."""

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
from ..arguments import changed, plain
from ..benchmarks.progress import bar
from ..errors import UsageError
from ..loops.learning import open_learner
from ..loops.measuring.evaluation import Score, compare
from ..loops.measuring.gate import verdicts
from ..loops.measuring.measure import Measure, Measured, measure, where_time_went
from ..loops.measuring.tables import comparison_table, score_table, verdict_table
from ..loops.registry import Loop, find_loop
from ..loops.run import Run, resolved
from ..loops.runs.stages import Stage
from ..loops.runs.store import RunStore
from .opening import Playing


@dataclass(frozen=True)
class Improve(Playing):
    """What the command has for every loop; the fields `loop` and `held_out` are added for each."""

    run: Path = Path("runs/improve")
    """The run's folder; the same command again continues it."""
    config: Path | None = None
    """A TOML file with values of flags, such as a run's `config.toml`: tables `loop` and `held_out`, and the names of
    the other flags. Flags that are given come before it."""


@dataclass(frozen=True)
class LoopCommand:
    """The command of one loop."""

    loop: Loop[Any]

    @property
    def config(self) -> type[Any]:
        """The dataclass of its flags."""
        about = tyro.conf.arg(help="What models are measured on before and after.")
        own = [
            ("env", str, field(default=self.loop.env)),
            ("agent", str, field(default=self.loop.agent)),
            ("loop", self.loop.config, field(default_factory=self.loop.config)),
            ("held_out", Annotated[Measure, about], field(default_factory=lambda: self.loop.held_out)),
        ]
        return make_dataclass("Improve", own, bases=(Improve,), frozen=True)

    def default(self, arguments: Sequence[str]) -> Any:
        """What flags that are not given are: the loop's usual values, or those of the file in `--config`.

        Raises `UsageError` for a file that cannot be read and for a key or value that does not exist.
        """
        usual, path = self.config(), _value_of("--config", arguments)
        if path is None:
            return usual
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the configuration {path} ({error}); expected a TOML file") from error
        if "command" in values:
            # The record of a run names the loop, and the model by its weights and not by where they are.
            if values.pop("command") != f"improve {self.loop.name}":
                raise UsageError(f"{path} is of another command than improve {self.loop.name}; name that loop")
            if _value_of("--model", arguments) is None:
                raise UsageError(f"{path} is of the model {values.get('model')!r}; say with --model how it is opened")
            values.pop("model", None)
        return changed(usual, values, path)

    @property
    def about(self) -> str:
        """One line of help."""
        return self.loop.about

    def __call__(self, config: Any, console: Console) -> None:
        """Run it."""
        improve(self.loop, config, console)


def command(name: str) -> LoopCommand:
    """The command of the loop of this name."""
    return LoopCommand(find_loop(name))


def improve(loop: Loop[Any], config: Any, console: Console) -> None:
    """Run or continue `loop`, and print scores, verdicts and what the loop found."""
    from ..loops.seeds.recipe import demonstrations_of

    env, agent = config.env_spec, config.reader()
    settings, on = resolved(config.loop, env), resolved(config.held_out, env)
    # What is wrong with tasks, environment or model is said before a run is begun that could only be begun anew.
    scored = on.task_sets(env)
    settings.validate(env, agent)
    settings.refuse_shared(env, scored)
    env.make().close()
    with bar(console) as watch:
        backend = config.backend(watch)
        learner = open_learner(backend)
        record = {
            "command": f"improve {loop.name}",
            "model": backend.base,
            **config.record(),
            "loop": plain(settings),
            "held_out": plain(on),
        }
        with RunStore.open(config.run, record) as store:
            store.illustrated, store.watch = config.pictures, watch
            shown = demonstrations_of(backend.weights)
            run = Run(store, backend, learner, env, config.agent_spec, demonstrations=shown)
            lines = list(_improved(run, loop, settings, on))
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str), highlight=False)


def _improved(run: Run, loop: Loop[Any], settings: Any, on: Measure) -> Iterator[RenderableType]:
    """Do it; what is to be printed."""
    tests = loop.tests(run, settings, on)

    def measured(who: str, adapter: Path | None) -> Measured:
        return measure(run, who, adapter, on) | {tasks: test(who, adapter) for tasks, test in tests.items()}

    attempts = {"base": measured("base", None)}
    adapter = loop.run(run, settings)
    if adapter is not None:
        attempts[loop.name] = measured(loop.name, adapter)
    results = run.store.results()
    for stage, cost in results.items():
        if stage.kind == "cost":
            yield f"{stage.of('search')}: {SearchStats(**cost)}"
    for tasks in attempts["base"]:
        yield score_table(scores(results, attempts, tasks), f"Success: {tasks}")
    practised = settings.practice.task_set(run.env, settings.seed)
    for split, scored in on.task_sets(run.env).items():
        if shared := practised.shared(scored):
            yield f"{shared} of the {len(scored)} tasks of {split} were practised on: no held-out score"
    if found := verdicts(results):
        yield verdict_table(found)
    if adapter is not None:
        before, after = attempts["base"], attempts[loop.name]
        for tasks in before:
            compared = compare(before[tasks], after[tasks], names=("base", loop.name))
            yield comparison_table([compared], f"Paired on the same tasks: {tasks}")
    yield from loop.findings(run, settings, on, attempts)
    yield where_time_went(run.store.results())
    yield f"adapter: {adapter}" if adapter else "no round was adopted: the gate found none that helped"


def scores(results: Mapping[Stage, Any], attempts: Mapping[str, Measured], tasks: str) -> list[Score]:
    """Everybody's scores on one set of tasks."""
    found = (results[Stage.named("score", who, tasks)] for who, measured in attempts.items() if tasks in measured)
    return [Score.from_json(each) for each in found]


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of a flag among arguments, written with a space or with `=`."""
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
