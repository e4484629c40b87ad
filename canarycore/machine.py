"""The transition table as a `transitions.Machine`, and as diagrams.

    class Model:
        state = "Progressing"

    model = Model()
    machine().add_model(model, initial="Progressing")
    model.aborted()          # the trigger is the rule's name in lower case
    assert model.state == "Failed"

The machine is for embedders with a state machine around their own code; it decides nothing. Machine and diagrams come
from `canarycore.phases.ROWS`, the same rows that bind `decide`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from canarycore.phases import ROWS, Phase, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transitions import Machine


def machine() -> Machine:
    """Return a machine without a model: its states are the phases' values, its triggers the rules' names in lower case.

    A rule that leaves the phase as it is becomes an internal transition: its callbacks run, the state does not change.
    Raises ImportError if `transitions` is not installed.
    """
    from transitions import Machine

    result = Machine(model=None, states=[phase.value for phase in Phase], initial=None, auto_transitions=False)
    for row in ROWS:
        target = None if row.target is None else row.target.value
        for source in Phase:
            if source in row.sources:
                result.add_transition(row.rule.name.lower(), source.value, target)
    return result


def mermaid() -> str:
    """Return the diagram as Mermaid text: one arrow between two phases, labelled with its rules."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.INITIALIZING.value}"]
    lines += [f"    {source.value} --> {target.value}: {label}" for source, target, label in _arrows(", ")]
    lines.append(f"    {Phase.TERMINATED.value} --> [*]")
    return "\n".join(lines) + "\n"


def graphviz() -> str:
    """Return the diagram as DOT text."""
    lines = ["digraph rollout {", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    lines += [f'    {source.value} -> {target.value} [label="{label}"];' for source, target, label in _arrows("\\n")]
    return "\n".join([*lines, "}"]) + "\n"


def _arrows(separator: str) -> Iterator[tuple[Phase, Phase, str]]:
    """Yield (source, target, rules) in the order of the phases, without rules that leave the phase as it is."""
    rules: dict[tuple[Phase, Phase], list[Rule]] = defaultdict(list)
    for row in ROWS:
        for source in row.sources:
            if row.target is not None and row.target is not source:
                rules[source, row.target].append(row.rule)
    order = list(Phase)
    for source, target in sorted(rules, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1]))):
        yield source, target, separator.join(rule.name.lower() for rule in rules[source, target])
