"""Page of the report, `report.html`, of a finished run: it needs no network and no other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dashfx.config.run import RunConfig
from dashfx.cost.counts import conv_macs, conv_parameters
from dashfx.data import Data
from dashfx.drawing.html import Html, items, page, section, table, tag
from dashfx.drawing.kernels import common_scale, kernel
from dashfx.genotype import Genotype
from dashfx.report.agreement import agreement
from dashfx.report.costs import costs
from dashfx.report.details import by_class, by_output
from dashfx.report.ensemble import ensemble
from dashfx.report.evaluations import evaluations
from dashfx.report.figures import curves, heat_map, limits
from dashfx.report.models import duration, metric, models, spent, times
from dashfx.report.network import drawing, sees
from dashfx.report.tuning import tuning
from dashfx.report.warnings import best_index, stage, warnings_of
from dashfx.report.widths import widths
from dashfx.run.environment import environment
from dashfx.run.folder import write_text
from dashfx.run.result import SEARCHED, UNTOUCHED, Result
from dashfx.site import Site
from dashfx.space import Candidate, size_text

RUN_THE_CONTROLS = (
    "This run alone does not say whether the search helped: run the controls --strategy untouched and --strategy "
    "random with the same settings, a few seeds each, and compare on the validation part."
)


def write_report(path: Path, result: Result, config: RunConfig, data: Data) -> None:
    """Write the page, complete or not at all."""
    spec = config.model or type(result.model).__name__
    title = f"{spec.rpartition(':')[2]} on {data.name}"
    sections = [
        tag("h1", title),
        tag("p", f"dashfx report · {spec} · strategy {config.search.strategy} · seed {config.seed}", class_="soft"),
        _result(result, config),
        _warnings(result, config, data),
        models(result, config),
        costs(result),
        ensemble(result),
        by_class(result.classes),
        by_output(result.outputs),
        _network(result),
        _sites(result),
        widths(result),
        agreement(result.agreement),
        _left_alone(result),
        _training(result),
        _evaluations(result, config),
        tuning(result.tuned, result.task),
        times(result),
        _exported(result),
        _data(result, data),
        _settings(config),
    ]
    write_text(path, page(f"dashfx: {title}", sections))


def _result(result: Result, config: RunConfig) -> Html:
    name, better = result.task.metric_name, "higher" if result.task.maximise else "lower"
    after = sum(p.numel() for p in result.model.parameters())
    before = after + _saved(result, result.genotype, conv_parameters)
    if result.genotype.widths:
        controls = result.models.get(UNTOUCHED)
        before = controls.parameters if controls else after
    facts = [
        (f"{name}, validation", metric(result.valid)),
        (f"{name}, test", metric(result.test)),
        (f"{name}, validation, ONNX Runtime", metric(result.onnx_valid)),
        (f"parameters (before: {before:,})", f"{after:,}"),
        (f"sites searched (left alone: {len(result.skips)})", len(result.genotype)),
        ("wall time of all stages", duration(sum(spent(result).values()))),
    ]
    searched, untouched = result.finalist(SEARCHED), result.finalist(UNTOUCHED)
    if searched and untouched:
        facts.insert(1, (f"{name}, validation, untouched model", metric(untouched.valid)))
        facts.insert(2, (f"{name}, validation, searched model", metric(searched.valid)))
    cards = [tag("div", tag("b", value), tag("span", label, class_="soft"), class_="fact") for label, value in facts]
    verdict = tag("p", RUN_THE_CONTROLS, class_="soft")
    if result.verdict or config.search.is_control:
        verdict = tag("p", f"By the same recipe, on {result.verdict}.") if result.verdict else Html("")
    direction = tag("p", f"For {name}, {better} is better. No choice was made on the test part.", class_="soft")
    budgets = [items([each.sentence for each in result.budgets])] if result.budgets else []
    return section("Result", verdict, *budgets, tag("div", *cards, class_="facts"), direction)


def _warnings(result: Result, config: RunConfig, data: Data) -> Html:
    found = warnings_of(result, config, data)
    body = (
        items(found, class_="warnings") if found else tag("p", "None of the report's checks found anything to warn of.")
    )
    told = {*data.notes, *(each.sentence for each in result.budgets)}  # under Data, and under Result
    lines = [note for note in result.notes if note.removeprefix("data: ") not in told]
    notes = [tag("h3", "Notes of the run"), items(lines)] if lines else []
    return section("Warnings", body, *notes)


def _sites(result: Result) -> Html:
    """A card a site: its own kernel and the chosen one at one scale, and what the choice cost."""
    known = [result.sites[name].original for name in result.chosen if name in result.sites]
    choices = [*result.chosen.values(), *known]
    flat = any(choice.ndim == 1 for choice in choices)
    scale = common_scale(choices, 260 if flat else 150)  # pixels that fit a card
    cards = [_card(name, choice, result, scale) for name, choice in result.chosen.items()]
    macs = -_saved(result, result.chosen, conv_macs)
    changed = f" Over all sites the choices change the multiply-adds for one input by {macs:+,}."
    text = (
        f"Every mark is a tap, all at one scale ({scale:.2g} pixels a position): first the conv's own kernel, then the "
        f"chosen one (rule: {result.chosen.rule or 'given'}).{'' if result.chosen.widths else changed}"
        f"{_returned(result)}"
    )
    return section("Sites", tag("p", text, class_="soft"), tag("div", *cards, class_="cards"))


def _returned(result: Result) -> str:
    """What the drawings cannot tell: that the model of the folder is another one."""
    if result.chosen == result.genotype:
        return ""
    return " The untouched model was handed back, so the folder's model has the own kernels."


def _card(name: str, choice: Candidate, result: Result, scale: float) -> Html:
    site = result.sites.get(name)
    pair = [_drawing("own", site.original, scale)] if site else []
    facts = _site_facts(site, choice) if site else []
    epochs = stage(result.history, "search")
    if epochs and name in epochs[-1].mixtures:
        share, leader = epochs[-1].mixtures[name]
        facts.append(f"largest coefficient at the end: {share:.2f} ({leader})")
    pair.append(_drawing("chosen", choice, scale))
    return tag(
        "div",
        tag("h3", name),
        tag("div", *pair, class_="pair"),
        tag("div", " · ".join(facts), class_="soft"),
        class_="card",
    )


def _drawing(kind: str, candidate: Candidate, scale: float) -> Html:
    caption = tag("figcaption", f"{kind}: {candidate}")
    drawing = kernel(candidate, scale, kind)
    return tag("figure", caption, drawing, class_="line" if candidate.ndim == 1 else "plane")


def _site_facts(site: Site, choice: Candidate) -> list[str]:
    changed = conv_parameters(site, choice) - conv_parameters(site, site.original)
    facts = [
        f"{site.in_channels} to {site.out_channels} channels",
        f"spans {size_text(choice.span)} of an input of {size_text(site.input_size)}",
        f"{changed:+,} parameters",
    ]
    facts += [f"stride {size_text(site.stride)}"] if max(site.stride) > 1 else []
    facts += [f"{site.groups} groups"] if site.groups > 1 else []
    facts += ["causal"] if site.causal else []
    return facts


def _network(result: Result) -> Html:
    """The convs in order, what feeds what, both kernels of each to scale, and how far each sees."""
    network = result.network
    if network is None or not result.chosen:
        return Html("")
    own = {name: site.original for name, site in result.sites.items()}
    before, after = map(sees, network.whole)
    text = (
        "Every conv in the order of the forward pass. Thin lines are kernels along their longest axis, all at one "
        "scale: grey the conv's own, blue the chosen one. “Sees” is the receptive field in positions of the input, "
        f"before and after; ahead of the last pooling the network sees {before} before and {after} after."
    )
    return section("Network", tag("p", text, class_="soft"), drawing(network, own, result.chosen))


def _left_alone(result: Result) -> Html:
    rows = [(skip.name, skip.reason) for skip in result.skips]
    rows += [(name, "the genotype does not name it") for name in result.sites if name not in result.chosen]
    if not rows:
        return section("Left alone", tag("p", "Nothing: every conv of the model was searched."))
    return section("Left alone", table(rows, ("conv", "why")))


def _training(result: Result) -> Html:
    """The curves of every stage that trained, finalists at one scale, and how the mixtures concentrated."""
    figures = []
    compared = {each.stage for each in result.finalists}
    shared = limits([epoch for epoch in result.history if epoch.stage in compared])
    for name in dict.fromkeys(epoch.stage for epoch in result.history):
        epochs = stage(result.history, name)
        best = best_index(result, epochs)
        head = f"{name}: {len(epochs)} epochs, best {metric(epochs[best].metric)} in epoch {epochs[best].epoch + 1}"
        figures.append(
            tag(
                "figure",
                tag("h3", head),
                curves(epochs, result.task.metric_name, best, shared if name in compared else None),
            )
        )
    searched = [epoch for epoch in stage(result.history, "search") if epoch.mixtures]
    if searched:
        text = "The largest coefficient of each site; a dot marks an epoch in which another candidate took the lead."
        mixtures = tag("figure", tag("h3", "search: mixtures"), heat_map(searched), tag("figcaption", text))
        figures.append(mixtures)
    if not figures:
        return Html("")
    return section("Training", tag("div", *figures, class_="figures"))


def _evaluations(result: Result, config: RunConfig) -> Html:
    warm, options = config.search.judges_mixtures, config.blackbox
    evaluator = config.search.warm_start if warm else options.evaluator
    return evaluations(result.evaluations, evaluator, options.population if config.search.kind == "evolution" else 0)


def _exported(result: Result) -> Html:
    report = result.exported
    if report is None:
        return Html("")
    check = report.verification
    free = "; ".join(f"{name}: {', '.join(axes) or 'none'}" for name, axes in report.dynamic_axes.items())
    rows = [
        ("file", f"{report.path.name}, {report.bytes / 1e6:.2f} MB, opset {report.opset}, {report.exporter} exporter"),
        ("free axes", free),
        ("operators", ", ".join(f"{op} {n}" for op, n in report.ops.most_common())),
        ("checked on", ", ".join(check.providers)),
        ("largest error", f"{check.worst:.1e} relative to the output's largest value, allowed {check.tolerance:.0e}"),
        *(("input, error", case) for case in check.cases),
        *([("layout", report.layout)] if report.layout else []),
        *([("int8", result.int8)] if result.int8 else []),
        *([("fp16", result.fp16)] if result.fp16 else []),
        *(("files", each) for each in result.files),
        *(("note", note) for note in report.notes),
    ]
    return section("ONNX file against PyTorch", table(rows))


def _data(result: Result, data: Data) -> Html:
    parts = ", ".join(f"{part} {len(data.part(part)):,}" for part in ("train", "valid", "test"))
    rows = [
        ("rows", parts),
        ("input", size_text(data.input_shape)),
        ("targets", f"{data.kind}, {data.n_outputs}"),
        ("task", f"{result.task.name}, {result.task.metric_name}"),
    ]
    return section("Data", table([*rows, *(("note", note) for note in data.notes)]))


def _settings(config: RunConfig) -> Html:
    env = environment()
    packages = env.pop("packages")
    versions = table([*env.items(), *packages.items()])
    return section(
        "Configuration and versions",
        tag("details", tag("summary", "config.yaml"), tag("pre", config.to_yaml())),
        tag("details", tag("summary", "machine and packages"), versions),
    )


def _saved(result: Result, genotype: Genotype, count: Callable[[Site, Candidate], int]) -> int:
    """How much less `count` is, summed over the sites, with the genotype's kernels than with their own."""
    pairs = [(result.sites[name], choice) for name, choice in genotype.items() if name in result.sites]
    return sum(count(site, site.original) - count(site, choice) for site, choice in pairs)
