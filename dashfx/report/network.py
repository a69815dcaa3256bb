"""Network drawing: what feeds what, how far each conv sees, and its kernels before and after the choices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from dashfx.drawing.html import Html, tag
from dashfx.drawing.kernels import common_scale, shortened, strip
from dashfx.frontend.analysis import receptive_fields, site_receptive_fields
from dashfx.frontend.tracing import Program, trace
from dashfx.run.inputs import Inputs
from dashfx.run.result import Network, ReceptiveField, Result
from dashfx.space import Candidate
from dashfx.supernet import specialise

INPUT, OUTPUT = "input", "output"
ROW, WIDTH = 46, 340  # pixels; a phone shows the drawing at its own size
TRUNK, TEXT = 56, 74  # where nodes and texts stand
STRIP = WIDTH - TEXT - 8


def network(inputs: Inputs, result: Result) -> Network:
    """What feeds what in the model, and how far each conv sees before and after the search's choices."""
    model, example = inputs.start_model(), inputs.example
    searched = result.model if result.chosen == result.genotype else specialise(model, example, result.chosen, "fresh")
    return network_of(trace(model, example), trace(searched, example))


def network_of(before: Program, after: Program) -> Network:
    edges = tuple(dict.fromkeys(_edges(before)))
    convs = tuple(dict.fromkeys(to for _, to in edges if to != OUTPUT))
    own, chosen = (site_receptive_fields(program.graph_module) for program in (before, after))
    chosen |= {name: _widest_of(after, name) for name in own if name not in chosen}
    return Network(convs, edges, own, chosen, (_widest(before), _widest(after)))


def _widest_of(program: Program, name: str) -> ReceptiveField:
    """The largest field of what stands in the place of one conv: several of them, a pool, or nothing."""
    fields, nodes = receptive_fields(program.graph_module), program.graph_module.graph.nodes
    own = [node.name for node in nodes if node.op == "call_module" and f"{node.target}.".startswith(f"{name}.")]
    return max((field for each in own if (field := fields[each]) is not None), key=math.prod, default=None)


def _edges(program: Program) -> Iterator[tuple[str, str]]:
    """(from, to) of convs; those inside a module that the graph does not open are taken for a chain."""
    names = [*program.sites, *(skip.name for skip in program.skips)]
    reached: dict[str, dict[str, None]] = {}  # node -> the convs whose output it carries, in order
    for node in program.graph_module.graph.nodes:
        sources = {name: None for source in node.all_input_nodes for name in reached[source.name]}
        sources = sources or ({INPUT: None} if node.op == "placeholder" else {})
        target = str(node.target)
        inside = [n for n in names if node.op == "call_module" and (n == target or n.startswith(f"{target}."))]
        for name in [*inside, *([OUTPUT] if node.op == "output" else [])]:
            yield from ((source, name) for source in sources if source != name)
            sources = {name: None}
        reached[node.name] = sources


def _widest(program: Program) -> ReceptiveField:
    fields = [f for f in receptive_fields(program.graph_module).values() if f and all(map(math.isfinite, f))]
    return max(fields, key=math.prod, default=None)


def sees(field: ReceptiveField) -> str:
    """A receptive field as text: "43", "15x31", "all".

    >>> sees((15.0, 31.0)), sees((math.inf, math.inf)), sees(None)
    ('15x31', 'all', 'unknown')
    """
    if field is None:
        return "unknown"
    sizes = ["all" if math.isinf(size) else f"{size:g}" for size in field]
    return sizes[0] if len(set(sizes)) == 1 else "x".join(sizes)


def drawing(network: Network, own: Mapping[str, Candidate], chosen: Mapping[str, Candidate]) -> Html:
    """A row a conv with both kernels along their longest axis at one scale; arcs are connections past other convs."""
    rows = [INPUT, *network.convs, OUTPUT]
    place = {name: 24 + ROW * i for i, name in enumerate(rows)}
    scale = common_scale([*own.values(), *chosen.values()], STRIP)
    parts = [_wire(place[a], place[b]) for a, b in network.edges if a in place and place[a] < place[b]]
    for name in rows:
        parts.append(_node(name, place[name], name in chosen))
        if name in chosen:
            parts.append(_choice(network, name, place[name], own.get(name), chosen[name], scale))
    height = place[OUTPUT] + 16
    size = {"width": WIDTH, "height": height, "viewBox": f"0 0 {WIDTH} {height}"}
    return tag("svg", *parts, class_="network", role="img", aria_label="The network and its choices", **size)


def _wire(top: int, bottom: int) -> Html:
    if bottom - top == ROW:
        return tag("path", class_="wire", d=f"M{TRUNK} {top}V{bottom}")
    out = max(4, TRUNK - 12 - 9 * (bottom - top) // ROW)
    return tag("path", class_="wire", d=f"M{TRUNK} {top}C{out} {top + 14} {out} {bottom - 14} {TRUNK} {bottom}")


def _node(name: str, y: int, searched: bool) -> Html:
    end = name in (INPUT, OUTPUT)
    mark = tag("circle", class_="end" if end else "chosen" if searched else "alone", cx=TRUNK, cy=y, r=5)
    label = shortened(name, 30) if end or searched else f"{shortened(name, 30)} · left alone"
    return Html(mark + tag("text", label, x=TEXT, y=y + (0 if searched else 4), class_="" if searched else "faint"))


def _choice(network: Network, name: str, y: int, own: Candidate | None, chosen: Candidate, scale: float) -> Html:
    before, after = sees(network.before.get(name)), sees(network.after.get(name))
    words = f"{own} → {chosen}" if own and own != chosen else f"{chosen}, its own"
    words += f" · sees {before} → {after}" if before != after else f" · sees {after}"
    strips = [strip(own, TEXT, y + 18, scale, "own")] if own else []
    strips.append(strip(chosen, TEXT, y + 24, scale, "chosen"))
    return Html(tag("text", words, x=TEXT, y=y + 13, class_="faint") + "".join(strips))
