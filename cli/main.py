"""The entry point `dashfx`: arguments go in, an exit code comes out; what a user did wrong is one line and code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import Interrupted
from dashfx.cli.verbs.bench_ops import bench_ops
from dashfx.cli.verbs.check import check
from dashfx.cli.verbs.eval import evaluate
from dashfx.cli.verbs.export import export
from dashfx.cli.verbs.lower import lower
from dashfx.cli.verbs.methods import methods
from dashfx.cli.verbs.pick import pick
from dashfx.cli.verbs.rank import rank
from dashfx.cli.verbs.report import report
from dashfx.cli.verbs.retrain import retrain
from dashfx.cli.verbs.search import search
from dashfx.cli.verbs.search_task import search_task
from dashfx.cli.verbs.show import show
from dashfx.cli.verbs.study import study
from dashfx.cli.verbs.tune import tune
from dashfx.errors import DashfxError

VERBS: dict[str, Callable[..., None]] = {
    "check": check,
    "search": search,
    "rank": rank,
    "search-task": search_task,
    "study": study,
    "tune": tune,
    "retrain": retrain,
    "lower": lower,
    "pick": pick,
    "export": export,
    "eval": evaluate,
    "show": show,
    "report": report,
    "bench-ops": bench_ops,
    "methods": methods,
}
# Threads that wait spin for a moment only. Beside other busy processes on two cores, a step of examples/my_model.py
# took 800 ms with OpenMP's long spinning and 31 ms without any; without any, a step on an idle machine takes up to
# twice as long. OpenMP reads these when torch is imported, later than here; the second is GNU's.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

SEVERAL = ("--max", "--model-args", "--retrain-args", "--set", "--wider")  # options of several NAME=VALUE

USER_MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count

# typer brings a click of its own since 0.2x; its base of all usage errors has no public name in every version.
UsageError: type[Any] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Finds kernel sizes and dilations for the convolutions of a CNN, and hands back a plain model and ONNX.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in VERBS:
    app.command(name)(VERBS[name])


def _version(wanted: bool) -> None:
    if wanted:
        import dashfx

        render.line(f"dashfx {dashfx.__version__}")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and leave", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show the library's log")] = False,
) -> None:
    if verbose:
        render.show_log()


def run(arguments: Sequence[str]) -> int:
    """The exit code of `dashfx ARGUMENTS`."""
    arguments = list(separate_values(arguments)) or ["--help"]
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="dashfx", standalone_mode=False)
    except UsageError as error:
        where = error.ctx.command_path if error.ctx else "dashfx"
        text = error.format_message()
        render.error(f"{text}{'' if text.endswith(('.', '?')) else '.'} See {where} --help")
        return USER_MISTAKE
    except DashfxError as error:
        render.error(str(error))
        return USER_MISTAKE
    except Interrupted as stopped:
        render.error(f"interrupted: {stopped}")
        return INTERRUPTED
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    if code == INTERRUPTED:
        render.error("interrupted")
    return code if isinstance(code, int) else 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def separate_values(arguments: Sequence[str]) -> Iterator[str]:
    """Repeat options that take several NAME=VALUE before each further one, for `--model-args depth=16 width=2`.

    >>> list(separate_values(["--set", "a=1", "b=2", "x.py:Net"]))
    ['--set', 'a=1', '--set', 'b=2', 'x.py:Net']
    """
    option, values = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = argument if argument in SEVERAL else "", 0
        elif option and "=" not in argument:
            option = ""
        elif option:
            values += 1
            if values > 1:
                yield option
        yield argument
