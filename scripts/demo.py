"""Run the flagship DAG on this machine: once, with a report in the end, or with Airflow's UI until Ctrl-C.

All of it is real but two things: moto stands in for S3, and this package's emulator for Cerebras.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from local_stack import AWS, LocalStack
from processes import Failure, Interrupted
from report import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_rest import DagRun, TaskState

HOME = Path(__file__).resolve().parent.parent / ".demo"
DAG_ID = "finetune_upload_deploy"
STARTED_BY_ASSETS = ("deploy_on_new_version", "on_new_version_watched")
RUN_SECONDS = 600


def main() -> int:
    """Understand the command line, and turn the end of it all into an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--standalone", action="store_true", help="serve Airflow's UI until Ctrl-C")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="overwrite the weights in mid-sync, which the run must notice",
    )
    parser.add_argument("--conf", type=json.loads, default={}, help="parameters of the DAG for this run, as JSON")
    arguments = parser.parse_args()
    try:
        if arguments.standalone:
            serve(HOME / "standalone")
        else:
            demonstrate(HOME / "run", arguments.conf, overwrite=arguments.overwrite)
    except Interrupted as interrupted:
        print(f"\nEnded by {interrupted}; nothing is left running.", file=sys.stderr)
        return interrupted.exit_code
    except (Failure, httpx.HTTPError) as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    return 0


def demonstrate(home: Path, conf: dict[str, Any], *, overwrite: bool) -> None:
    """Run the DAG once, and tell what came out.

    :param overwrite: whether another file takes the place of the weights while they are synced.
    """
    say = Progress()
    with LocalStack(home, to_look_around=False) as stack:
        say("starting S3, the Cerebras emulator and Airflow")
        stack.start_services()
        stack.start_components()
        stack.prepare(DAG_ID)
        say(f"all is up: Airflow at {stack.airflow_url}, the emulator at {stack.emulator_url}; running {DAG_ID}")
        run = stack.airflow.trigger(DAG_ID, conf)
        tasks = follow(stack, run, say, on_upload=(lambda: _overwrite(stack, run, say)) if overwrite else lambda: None)
        rows = [(task.task_id, task.state, f"{task.seconds or 0:.1f}") for task in tasks]
        print("\n" + table(rows, header=("task", "state", "seconds")))
        if failed := [task for task in tasks if task.state == "failed"]:
            raise Failure(f"{failed[0].task_id} failed.\n{run.error(failed[0])}\nThe logs are in {home}.")
        print("\n" + table(outcome(stack, run, {task.task_id: task for task in tasks})))


def serve(home: Path) -> None:
    """Have everything in place for the user to run the DAG."""
    say = Progress()
    with LocalStack(home, to_look_around=True) as stack:
        say("starting S3, the Cerebras emulator and Airflow")
        stack.start_services()
        stack.start_standalone()
        stack.prepare(DAG_ID, *STARTED_BY_ASSETS)
        say("all is up")
        print(f"\n{table(pages(stack, home))}\n\nCtrl-C ends it all.", flush=True)
        while True:
            stack.pause()


def pages(stack: LocalStack, home: Path) -> list[tuple[str, str]]:
    """Where what runs can be seen."""
    return [
        ("Airflow", f"{stack.airflow_url}/dags/{DAG_ID} (no login; the run of last Sunday starts by itself)"),
        ("", f"{stack.airflow_url}/dags (each example DAG has what it needs: press Trigger)"),
        ("Cerebras emulator", f"{stack.emulator_url}/"),
        ("S3", stack.s3_url),
        ("logs", str(home)),
    ]


class Progress:
    """Prints what is going on, and since when."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)


def _overwrite(stack: LocalStack, run: DagRun, say: Progress) -> None:
    """Do what must not happen: write to the prefix of weights that are being synced."""
    uri = run.result("fine_tune", "weight_uri")
    say(f"overwriting {uri}/model.safetensors")
    bucket, _, path = uri.removeprefix("s3://").partition("/")
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.s3_url,
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
        region_name=AWS["AWS_DEFAULT_REGION"],
    )
    s3.put_object(Bucket=bucket, Key=f"{path}/model.safetensors", Body=b"another client's weights")


def follow(
    stack: LocalStack, run: DagRun, say: Progress, *, on_upload: Callable[[], None] = lambda: None
) -> list[TaskState]:
    """Say each change of a task's state until the run has ended.

    :param on_upload: called once the version has been made, whose sync goes on then.
    """
    seen: dict[str, str] = {}
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        ended = run.state() in {"success", "failed"}
        tasks = run.tasks()
        for task in tasks:
            if task.state not in {seen.get(task.task_id), "waiting", "scheduled", "queued"}:
                say(f"{task.task_id:16}  {task.state}")
                if (task.task_id, task.state) == ("upload", "success"):
                    on_upload()
            seen[task.task_id] = task.state
        if ended:
            return tasks
        if time.monotonic() > deadline:
            raise Failure(f"the run has not ended in {RUN_SECONDS} s")
        stack.pause()


def outcome(stack: LocalStack, run: DagRun, tasks: dict[str, TaskState]) -> list[tuple[str, str]]:
    """What came out of the run, or a failure if the endpoint does not serve the weights that were trained."""
    report = run.result("check")
    version = run.result("wait_for_sync")
    digest = run.result("fine_tune", "sha256")
    fingerprint = run.result("verify", "system_fingerprint")
    endpoint = tasks["deploy"].rendered_fields["endpoint_id"]
    serving = stack.serving(endpoint)
    # The emulator has computed the first SHA-256 from what it read from S3, the task the second from what it trained.
    if serving != version or not fingerprint.startswith(f"fp_{digest}") or not fingerprint.endswith(f"-{digest}"):
        raise Failure(f"{endpoint} serves {serving} with {fingerprint}; trained were {version} with {digest}")
    return [
        ("check", f"files: {report['files']}, tensors: {report['tensors']}, no error"),
        ("digest, the same before and after the sync", f"{report['digest'][:12]}..."),
        ("model version", version),
        ("deployment", run.result("deploy")),
        (f"{endpoint} serves", serving),
        ("trained weights (SHA-256)", f"{digest}..."),
        ("system_fingerprint of the answer", fingerprint),
    ]


if __name__ == "__main__":
    sys.exit(main())
