"""Pruning while others deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.drills.release import BUCKET, ENDED, STEP_SECONDS, put_weights

if TYPE_CHECKING:
    from tests.drills.release import Field

OLD, ROUNDS = 20, 6


def prune(field: Field, name: str) -> dict[str, Any]:
    """Deploy versions that a prune under way has chosen to delete, each while it deletes another."""
    stack = field.stack
    with field.service() as (service, lane):
        put_weights(stack.s3_url, name)
        service.change_behaviour(delete_in_use="allow")
        versions = service.have(stack, *[f"s3://{BUCKET}/{name}"] * (OLD + 1))
        fault = service.add_fault("delete_model_version", hold=True)
        stack.trigger("prune", name, {"connection": lane.connection})
        deployed: list[str] = []
        for _ in range(ROUNDS):
            stack.wait_until(
                f"{name}: a deletion",
                lambda: bool(service.requests("delete_model_version", stage="held")),
                timeout=STEP_SECONDS,
            )
            (held,) = service.requests("delete_model_version", stage="held")
            there = [each for each in versions[:-1] if each in service.versions() and not held.path.endswith(each)]
            # The one that would be deleted next, from whichever end.
            free = [each for each in there if each not in deployed]
            deployed += [each for each in {free[0], free[-1]} if service.deploy(each)]
            more = service.add_fault("delete_model_version", hold=True)
            service.end_fault(fault)
            fault = more
        service.end_faults()
        stack.wait_until(f"{name}: the end", lambda: stack.run_state(name) in ENDED, timeout=STEP_SECONDS)
        assert stack.run_state(name) == "success"
        left = list(service.versions())
        assert left == sorted([*deployed, versions[-1]], key=versions.index), f"left are {left}, deployed {deployed}"
        return {
            "versions": len(left),
            "deployments": len(service.deployments()),
            "attempts": {},
            "deployed while prune ran": len(deployed),
            "deleted": OLD + 1 - len(left),
        }
