"""A child process that is asked to end in time when this process is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from contract import termination

# What a task of Slurm's `srun` gets instead of SIGTERM: `srun` itself answers SIGTERM with SIGKILL
# to its tasks, but passes this signal on to them.
THROUGH_SRUN = signal.SIGUSR1


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    received: Sequence[int] = (signal.SIGTERM,),
    sent: int = signal.SIGTERM,
) -> int:
    """Runs a command to its end, and asks it to end when this process is asked to.

    After that a trainer saves a checkpoint, so that this waits for as long as that takes.

    Args:
        command: the program and its arguments.
        environment: its environment variables.
        received: the signals that ask this process to end.
        sent: the signal that asks the command to end. If it is not SIGTERM, the command has a
            session of its own, so that it does not get what a whole group of processes gets.

    Returns:
        Its exit code; minus the signal's number if a signal killed it. If it was asked to end and
        did not succeed, `termination.EXIT_CODE`: torchrun and `srun` have codes of their own then.
    """
    process: subprocess.Popen | None = None
    asked_to_end = False

    def pass_on(*_: Any) -> None:
        nonlocal asked_to_end
        asked_to_end = True
        if process:
            process.send_signal(sent)

    def ignore_all_but_sigterm() -> None:
        # Slurm sends a signal to all processes of a task. To most of them it means nothing, and
        # they inherit that it is ignored.
        for number in set(received) - {signal.SIGTERM}:
            signal.signal(number, signal.SIG_IGN)

    for number in received:
        signal.signal(number, pass_on)
    own_session = sent != signal.SIGTERM
    # close_fds: the trainer, too, holds the locks of its GPUs and of its scratch folder, so that
    # nobody takes them over while it outlives this process.
    process = subprocess.Popen(
        command,
        env=environment,
        close_fds=False,
        start_new_session=own_session,
        preexec_fn=ignore_all_but_sigterm,
    )
    with process:
        if asked_to_end:  # before there was a process
            process.send_signal(sent)
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the terminal has sent Ctrl-C to the command as well
            if own_session:
                process.terminate()
            process.wait()
            raise
    return termination.EXIT_CODE if asked_to_end and code else code
