"""Annotation of the graph: each node gets its site, receptive field and stage; nothing is rewritten."""

from __future__ import annotations

from typing import Any

from dashfx.frontend.analysis import receptive_fields, stages
from dashfx.frontend.tracing import Program
from dashfx.passes.base import AbstractPass, Edit, PassResult


class Annotate(AbstractPass):
    """Write what is known of each node into `node.meta`, where it survives copies.

    1. A node that calls a site gets `meta["site"]`, the Site.
    2. Every node gets `meta["receptive_field"]`, per axis in input positions, or None where it is unknown.
    3. Every node with spatial axes gets `meta["stage"]`, the index of its spatial size in order of appearance.
    4. Nothing else changes; facts that already stand are no edit.
    """

    preserves = "values"

    def call(self, program: Program) -> PassResult:
        fields = receptive_fields(program.graph_module)
        stage = {name: i for i, names in enumerate(stages(program.graph_module).values()) for name in names}
        edits = []
        for node in program.graph_module.graph.nodes:
            facts: dict[str, Any] = {"receptive_field": fields[node.name], "stage": stage.get(node.name)}
            if node.op == "call_module" and node.target in program.sites:
                facts["site"] = program.sites[node.target]
            new = {key: value for key, value in facts.items() if key not in node.meta or node.meta[key] != value}
            node.meta.update(new)
            if "site" in new:
                seen = f"receptive field {_text(fields[node.name])}, stage {facts['stage']}"
                edits.append(Edit(str(node.target), seen))
        return self.result(program, edits)


def _text(field: tuple[float, ...] | None) -> str:
    return "unknown" if field is None else "x".join(f"{size:g}" for size in field)
