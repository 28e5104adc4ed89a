"""Engines: where the work is done. All run the same function on the same tasks, so they make the same pack.

    for report in engine.map(function, tasks): ...        in any order

A task is a dict of plain values and so is its report; big data never passes through here, workers read and write the pack
themselves. `pool` is one machine; `ray` is as many as a Ray cluster has, which must all see the corpus and the pack under
the same paths.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

Task = dict
Report = dict


class PoolEngine:
    """Processes of this machine; one process is this one.

    Raises (from map):
        ValueError: a worker ended without an answer, for want of memory as a rule.
    """

    def __init__(self, processes: int = 1) -> None:
        if processes < 1:
            raise ValueError(f"processes: expected at least 1, got {processes}")
        self.processes, self.pool = processes, None

    def __enter__(self) -> PoolEngine:
        return self

    def map(
        self, function: Callable[[Task], Report], tasks: list[Task], gpu: bool = False
    ) -> Iterator[Report]:
        if self.processes == 1:
            yield from map(function, tasks)
            return
        if self.pool is None:
            context = multiprocessing.get_context("spawn")  # torch and espeak do not survive a fork
            self.pool = ProcessPoolExecutor(self.processes, context, _start_worker)
        waiting, running = iter(tasks), set()
        try:
            while True:
                for task in waiting:
                    running.add(self.pool.submit(function, task))
                    if len(running) >= 2 * self.processes:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise ValueError(
                "a worker process was killed, for want of memory as a rule: use fewer --processes; what is "
                "finished is kept, the same command goes on"
            ) from error

    def __exit__(self, kind, *_) -> None:
        if self.pool is None:
            return
        if kind is not None:  # what workers are at is done again by the next run
            for child in multiprocessing.active_children():
                child.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the main process ends its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    def end_with_parent() -> (
        None
    ):  # a pool's workers outlive a main process that was killed, and wait forever
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


class RayEngine:
    """Ray Data over the nodes of the cluster that RAY_ADDRESS names, or over this machine alone.

    Args:
        processes: of a Ray that is started here; a cluster has its own number.

    A task whose worker dies is done again by Ray itself. Tasks of an encoder take a whole GPU each where there are any.
    """

    def __init__(self, processes: int = 1) -> None:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ValueError("Ray is not installed: pip install 'hierspeech[cluster]'") from error
        self.ray, self.processes, self.started = ray, processes, False

    def __enter__(self) -> RayEngine:
        self.started = not self.ray.is_initialized()
        if self.started:
            cluster = os.environ.get("RAY_ADDRESS")
            local = {} if cluster else {"num_cpus": self.processes, "include_dashboard": False}
            self.ray.init(address=cluster or "local", logging_level="error", log_to_driver=False, **local)
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it reports on every stage
        context = self.ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        return self

    def map(
        self, function: Callable[[Task], Report], tasks: list[Task], gpu: bool = False
    ) -> Iterator[Report]:
        if not tasks:
            return
        gpus = 1 if gpu and self.ray.cluster_resources().get("GPU", 0) else 0
        rows = self.ray.data.from_items(
            [{"task": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks)
        )

        def run(row: dict) -> dict:  # rows are tables of plain columns: a task travels as text
            return {"report": json.dumps(function(json.loads(row["task"])))}

        for row in rows.map(run, num_cpus=1, num_gpus=gpus).iter_rows():
            yield json.loads(row["report"])

    def __exit__(self, *_) -> None:
        if self.started:
            self.ray.shutdown()


ENGINES: dict[str, Callable[[int], PoolEngine | RayEngine]] = {"pool": PoolEngine, "ray": RayEngine}
