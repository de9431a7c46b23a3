"""Several processes on one machine: those of a function, and those that torchrun starts.

All are forked from one clean process that has imported everything, so that
each is there at once.
"""
from __future__ import annotations

import fcntl
import multiprocessing
import os
import re
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.multiprocessing import start_processes

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 300  # of a run on a busy machine; one that takes longer hangs
IMPORTS = ['sbp_tad', 'mmaction.models', 'mmaction.datasets', 'sbp_tad.apis.launch',
           'sbp_tad.engine', 'sbp_tad.models', 'sbp_tad.datasets', 'sbp_tad.evaluation.metrics',
           'sbp_tad.evaluation.online_metric']


PORTS = range(20_000, 20_200)
_port_locks: list[IO[str]] = []


@cache
def start_method() -> str:
    """Start the process that others are forked from, and return the name of this method."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTS)
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return 'forkserver'


def run_processes(work: Callable[..., Any], *arguments: Any, count: int = 2) -> list[Any]:
    """Return what ``work(rank, *arguments)`` returns in each process of a gloo group, by rank.

    Args:
        work: a function of a module that the processes can import.
    """
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_work_in_group, (count, folder, work, arguments), nprocs=count,
                        start_method=start_method())
        return [torch.load(f'{folder}/{rank}.pt', weights_only=False) for rank in range(count)]


def _work_in_group(rank: int, count: int, folder: str, work: Callable[..., Any],
                   arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    distributed.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=count)
    torch.save(work(rank, *arguments), f'{folder}/{rank}.pt')
    distributed.barrier()
    os._exit(0)  # gloo's destructor may wait for a thread that waits for the interpreter's lock


@dataclass(frozen=True)
class Ended:
    """End of a run: output of its processes, seconds, and status of those that failed, by rank."""

    output: str
    seconds: float
    statuses: dict[int, int]


def torchrun(tool: str, *arguments: Any, processes: int = 2, max_restarts: int = 0,
             first: Callable[[], None] | None = None) -> Ended:
    """Run ``torchrun --standalone --nproc-per-node PROCESSES TOOL ARGUMENTS``.

    The agent is that of torchrun, its processes are forked instead of started
    anew. ``first`` is called in each of them. Statuses are those of processes
    that failed; its summary stands last in the output.
    """
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id='test', rdzv_backend='c10d',
        rdzv_endpoint='localhost:0', max_restarts=max_restarts, start_method=start_method())
    with tempfile.NamedTemporaryFile('r') as log:
        began, statuses, summary = time.monotonic(), {}, ''
        command = [*map(str, arguments), '--launcher', 'pytorch']
        try:
            elastic_launch(config, run_tool)(tool, command, log.name, first)
        except ChildFailedError as error:
            statuses = {rank: failure.exitcode for rank, failure in error.failures.items()}
            summary = str(error)
        return Ended(log.read() + summary, time.monotonic() - began, statuses)


def torchrun_command(tool: str, *arguments: Any, processes: int = 2) -> Ended:
    """Run the command itself, as a user types it; its own agent decides which error came first.

    Statuses are those of the summary, which stands last in the output.
    """
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone',
               f'--nproc-per-node={processes}', tool, *arguments, '--launcher', 'pytorch']
    began = time.monotonic()
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=MOST_SECONDS,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'})
    failures = re.findall(r'rank +: (\d+) \(local_rank.*\n +exitcode +: (-?\d+)', done.stdout)
    written, _, log = done.stdout.partition(' failed (exitcode: ')  # the agent's log begins
    summary = log[log.find('FAILED'):]  # after the agent's own traceback
    return Ended(written + summary, time.monotonic() - began,
                 {int(rank): int(status) for rank, status in failures})


def run_without_agent(tool: str, *arguments: Any, processes: int = 1) -> Ended:
    """Start processes by hand: nobody ends those that are left when one has failed.

    One process is started without a launcher.
    """
    port = free_port()
    with tempfile.NamedTemporaryFile('r') as log:
        launcher = ['--launcher', 'pytorch'] if processes > 1 else []
        command = [*map(str, arguments), *launcher]
        context, began = multiprocessing.get_context(start_method()), time.monotonic()
        started = [context.Process(target=_run_rank, args=(
            rank, processes, port, tool, command, log.name)) for rank in range(processes)]
        for process in started:
            process.start()
        for process in started:
            process.join(max(0, began + MOST_SECONDS - time.monotonic()))
            process.kill()  # of one that hangs: its status tells
            process.join()
        statuses = {rank: process.exitcode for rank, process in enumerate(started)
                    if process.exitcode}
        return Ended(log.read(), time.monotonic() - began, statuses)


def free_port() -> int:
    """Return a port at which nobody listens; it stays this process's own until its end.

    A port that the system chooses may go to another process before it is used.
    These lie below those that it chooses, and a lock keeps other tests away.
    """
    for port in PORTS:
        lock = open(f'{tempfile.gettempdir()}/sbp_tad_test_port_{port}.lock', 'w')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as free:
                free.bind(('127.0.0.1', port))
        except OSError:
            lock.close()
            continue
        _port_locks.append(lock)
        return port
    raise RuntimeError(f'no port of {PORTS} is free')


def _run_rank(rank: int, count: int, port: int, tool: str, arguments: Sequence[str], log: str
              ) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    run_tool(tool, arguments, log)


def run_tool(tool: str, arguments: Sequence[str], log: str,
             first: Callable[[], None] | None = None) -> None:
    """Be the process that ``python TOOL ARGUMENTS`` would start, with the output in ``log``."""
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    if first is not None:
        first()
    sys.argv = [tool, *arguments]
    runpy.run_path(tool, run_name='__main__')
