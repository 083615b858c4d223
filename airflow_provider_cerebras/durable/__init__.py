"""Exactly once: a task run ends with one model version and one rollout, whatever died on the way.

The service has no idempotency key, but it keeps an alias unique within an organization and architecture, and sets
aliases in the same request that makes a version. So an upload carries one more alias, which is made from the identity
of the task run. A later attempt, after any crash, finds the version by it, and a second one with the same
alias cannot be made.

A deployment cannot carry anything of ours, so there the state that is wanted decides: what rolls out or serves
already is not submitted again.

``identity`` says who is asking, ``uploads`` and ``deployments`` hold what is decided and done, ``task_state`` is a
convenience that correctness never rests on.
"""
