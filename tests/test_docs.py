"""The pages in docs/: options as in the code, links that lead somewhere, and Python blocks that run."""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
import yaml
from pydantic import BaseModel

from dashfx.cli.main import VERBS, app, separate_values
from dashfx.cli.options.shared import KEYS
from dashfx.config.presets import PRESETS as TASK_PRESETS
from dashfx.config.run import RunConfig
from dashfx.config.search import FitConfig
from dashfx.cost.named import COSTS
from dashfx.data import load_data
from dashfx.data.sets.named import NAMED
from dashfx.space import PRESETS
from dashfx.strategies.rules import RULES
from dashfx.task import TASKS, evaluate, load_task
from dashfx.task.classify import scores as class_scores
from dashfx.task.losses import REGRESSION
from dashfx.task.multilabel import scores as label_scores
from dashfx.task.regress import SCORES

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "index.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
FOLDERS = ("guides", "concepts", "reference")
CODE = [
    file
    for top in ("dashfx", "passes", "backbones", "cli", "benchmarks", "examples", "tests")
    for file in (ROOT / top).rglob("*.py")
]
LONGEST = 2500  # words of a page
OPTIONS = (
    "reference/configuration.md",
    "reference/training-options.md",
    "reference/blackbox.md",
)  # together they have every option
PATH = re.compile(
    r"(?<![\w./~-])(?:(?:dashfx|passes|backbones|cli|benchmarks|examples|tests|docs)/[\w./*-]*\w/?|\.ci/\w+)"
)
NAME = re.compile(r"(?<![\w./-])dashfx(?:\.[A-Za-z]\w*)+")
ROW = re.compile(r"^\| `(?P<option>[\w.]+)` \| `(?P<default>.*?)` \| (?P<flag>.*?) \| ", re.MULTILINE)


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def option_rows() -> list[re.Match[str]]:
    """The row of each option, on whichever page it stands."""
    return [row for page in OPTIONS for row in ROW.finditer(text_of(page))]


def options(block: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every option by its full name, with its default as YAML has it."""
    values = block.model_dump(mode="json")
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            yield from options(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values[name]


def test_every_option_stands_on_a_page_with_its_default() -> None:
    rows = option_rows()
    written = {row["option"]: yaml.load(row["default"], yaml.BaseLoader) for row in rows}
    assert len(written) == len(rows)  # none stands twice
    known = {
        name: yaml.load(yaml.safe_dump(default, width=1000), yaml.BaseLoader) for name, default in options(RunConfig())
    }
    assert written == known
    assert set(FitConfig.model_fields) <= {name.partition(".")[2] for name in written}


def test_every_flag_stands_beside_the_options_that_it_sets() -> None:
    flags = {row["option"]: row["flag"].split(",")[0].strip("`") for row in option_rows()}
    expected = {key: f"--{name.replace('_', '-')}" for name, (keys, _) in KEYS.items() for key in keys.split()}
    assert {option: flag for option, flag in flags.items() if flag} == {**expected, "model": "MODEL"}


@pytest.mark.parametrize("page", [README, CONTRIBUTING, *PAGES], ids=lambda page: page.name)
def test_options_that_a_page_names_exist(page: Path) -> None:
    known = {name for name, _ in options(RunConfig())}
    blocks = "|".join(sorted({name.partition(".")[0] for name in known if "." in name}))
    named = re.findall(rf"(?<![\w./])(?:{blocks})\.[a-z]\w*(?!\w*[/(])", page.read_text(encoding="utf-8"))
    assert {name for name in named if not name.endswith((".md", ".py", ".json", ".yaml", ".journal", ".onnx"))} <= known


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("reference/data.md", NAMED),
        ("reference/data.md", TASKS),
        ("reference/tasks.md", {*TASKS, *class_scores(2), *label_scores(2), *SCORES, *REGRESSION}),
        ("reference/nas-bench-360.md", TASK_PRESETS),
        ("concepts/how-it-works.md", RULES),
        ("reference/configuration.md", {*RULES, *COSTS, *PRESETS, *TASKS}),
    ],
)
def test_names_that_can_be_chosen_are_on_the_page(page: str, names: Any) -> None:
    text = text_of(page)
    assert [name for name in names if f"`{name}`" not in text] == []


def anchor_of(head: str) -> str:
    """The name that a heading has in links, by GitHub's rule."""
    return re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [README, CONTRIBUTING, *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        file = page.parent / path if path else page
        assert file.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [anchor_of(head) for head in heads], target


def test_every_room_has_its_line_in_contributing() -> None:
    rooms = {file.name for file in (ROOT / "dashfx").iterdir() if (file / "__init__.py").is_file()}
    lines = [line for line in CONTRIBUTING.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = {name for line in lines for name in re.findall(r"`(?:dashfx/)?(\w+)/`", line)}
    assert rooms <= named


def test_paths_that_are_named_exist() -> None:
    files = [README, CONTRIBUTING, ROOT / "CHANGELOG.md", ROOT / "Makefile", *PAGES, *CODE]
    named = {(file.name, name) for file in files for name in paths_in(file.read_text(encoding="utf-8"))}
    assert {(file, name) for file, name in named if not any(ROOT.glob(name))} == set()


def paths_in(text: str) -> list[str]:
    """Paths of the repository that `text` names; `package/module:Name` and paths inside of others are not."""
    return [name.rstrip("/") for name in PATH.findall(text)]


def test_paths_are_found_in_text() -> None:
    text = "see `dashfx/ops/aggconv.py`, docs/index.md. Not runs/docs/x, nor ~/.cache/dashfx/x; tests/bench/bench_*.py"
    assert paths_in(text) == ["dashfx/ops/aggconv.py", "docs/index.md", "tests/bench/bench_*.py"]


def test_names_of_modules_and_objects_exist() -> None:
    pages = [README, CONTRIBUTING, ROOT / "CHANGELOG.md", *PAGES]
    named = {(page.name, name) for page in pages for name in NAME.findall(page.read_text(encoding="utf-8"))}
    assert {(page, name) for page, name in named if not resolves(name)} == set()


def resolves(name: str) -> bool:
    """Whether `dashfx.a.b` is a module, or an attribute of one."""
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True


def test_the_map_is_the_only_page_at_the_top() -> None:
    assert [page for page in PAGES if page.parent == INDEX.parent] == [INDEX]
    assert sorted(each.name for each in INDEX.parent.iterdir() if each.is_dir()) == sorted(FOLDERS)


# The generated list of all plug-ins is looked up, not read.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "systems.md"], ids=lambda page: page.name)
def test_no_page_is_too_long_to_be_read(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").split()) <= LONGEST


def test_every_verb_is_on_the_map() -> None:
    assert [verb for verb in VERBS if f"`{verb}`" not in text_of("index.md")] == []


def commands_in(text: str) -> Iterator[list[str]]:
    """The arguments of every `dashfx VERB ...` that a block of a page shows, without comments."""
    for kind, block in re.findall(r"```(console|sh)\n(.*?)```", text, re.DOTALL):
        prompt = r"\$ " if kind == "console" else ""  # other lines of a console are output
        for line in re.findall(f"^{prompt}dashfx (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            yield list(separate_values(shlex.split(line, comments=True)))


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_commands_of_the_pages_are_understood(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for verb, *arguments in commands_in(page.read_text(encoding="utf-8")):
        group.commands[verb].make_context(verb, arguments)  # parses and runs nothing; an unknown flag is an error


def test_every_page_is_on_the_map() -> None:
    linked = {(INDEX.parent / target).resolve() for target in re.findall(r"\]\(([\w./-]+\.md)\)", text_of("index.md"))}
    assert {*PAGES} - {INDEX} <= linked


def run_blocks(page: Path) -> dict[str, Any]:
    """Run a page's Python in order, in one namespace, as a reader would type it; what it defined."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
        exec(compile(block, f"{page.name}, block {number + 1}", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(page)


def test_the_task_of_the_page_fits_data() -> None:
    data = load_data((np.ones((20, 1, 8)), np.linspace(0, 1, 160).reshape(20, 1, 8)))
    task = run_blocks(ROOT / "docs" / "reference" / "extending.md")["make"](data)
    assert load_task(task, data) is task
    assert evaluate(lambda x: torch.zeros_like(x), data.loader("test", 3), task) == pytest.approx(
        data.test.targets.mean()
    )
