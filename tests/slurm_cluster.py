"""A Slurm cluster on this machine: the real daemons, with nodes that can be killed and restarted.

    python -m tests.slurm_cluster --folder scratch/slurm --nodes 2

runs one until Ctrl-C. The daemons are Debian's: `slurm-client slurmctld slurmd munge`. All that
they write lies in one folder, which `SLURM_CONF` names. A Slurm that the machine belongs to is
left alone. There is no accounting, as on many clusters.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

import psutil

from contract.arguments import Parser

CLIENTS = ("sbatch", "squeue", "scontrol", "sinfo", "scancel")
DAEMONS = ("munged", "slurmctld", "slurmd")
PACKAGES = "slurm-client slurmctld slurmd munge"
# Debian has the daemons where only root's PATH looks.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
SECONDS = 120  # for anything that is waited for, unless a test says otherwise

NORMAL, URGENT = "normal", "urgent"  # the partitions; jobs in the second preempt the first's
READY = ("idle", "mixed", "allocated")  # the states of nodes that run jobs

# The times, all in seconds, are short: a dead node is noticed after 15 s, and the scheduler looks
# every second for jobs that may start. `cred_expire` is also the time that a requeued job has to
# wait before it starts again: 120 s by default, 5 s at least.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=5
MessageTimeout=10
TCPTimeout=2
BatchStartTimeout=10
InactiveLimit=0
KillWait={kill_wait}
MinJobAge=300
{nodes}
PartitionName={normal} Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime={grace}
PartitionName={urgent} Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=off
"""
# What stands for the GPUs. Slurm wants files of devices, and gives their numbers to the jobs.
DEVICES = ("zero", "null", "full", "random", "urandom", "tty")
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus}"
    " RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN"
)

Result = TypeVar("Result")


class NotInstalledError(Exception):
    """A program of Slurm or Munge is missing."""


class Job(NamedTuple):
    """A job as `squeue` lists it; each task of an array is one.

    Attributes:
        number: the job's own number, which is the array's for a task that has not started yet.
        name: `7` for a job, `7_2` for a task of an array.
        state: `PENDING`, `RUNNING`, `COMPLETED` and so on.
        node: where it runs or ran last; empty before it has started.
        reason: why it waits; `None` as a word while there is no reason.
    """

    number: int
    name: str
    state: str
    node: str
    reason: str


class Cluster:
    """A Slurm cluster, which runs between `start` and `stop` or in a `with` block.

    Every node is a `slurmd` on this machine, called `n1`, `n2` and so on, and claims CPUs, memory
    and GPUs that the machine need not have. The jobs of all nodes see the same file system.

    Args:
        folder: holds all files of the cluster, and is made if missing. Its path may have at most 70
            characters, because the daemons' sockets lie in it.
        nodes: how many nodes there are.
        cpus: of each node.
        memory: of each node, in MiB. A job gets 100 MiB per CPU unless it asks for more.
        gpus: of each node, at most six.
        kill_wait: how many seconds a job has between SIGTERM and SIGKILL.
        grace: how many seconds a job in `normal` goes on before one in `urgent` takes its place.
            Only then does its batch shell get SIGTERM.

    Attributes:
        nodes: the names of the nodes.
        environment: the variables with which Slurm's commands find this cluster.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        cpus: int = 16,
        memory: int = 64_000,
        gpus: int = 6,
        kill_wait: int = 2,
        grace: int = 0,
    ) -> None:
        self.folder = folder.resolve()
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._sizes = {"cpus": cpus, "memory": memory, "gpus": gpus}
        self._times = {"kill_wait": kill_wait, "grace": grace}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Starts the daemons and waits until every node can run jobs.

        In the folder of an earlier cluster it begins anew, without that cluster's jobs.

        Raises:
            NotInstalledError: a program is missing.
            AssertionError: a daemon has ended, or the nodes are not ready in time.
        """
        check_installed()
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self._write_files()
        munge_socket = self.folder / "munge.socket"
        munge_socket.unlink(missing_ok=True)
        files = (f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "seed"))
        # Without --force it refuses a folder that other users cannot enter.
        options = ("--foreground", "--force", f"--socket={munge_socket}", *files)
        self._start("munged", "munged", *options)
        self._wait_for_daemon("munged", munge_socket.is_socket)
        self.start_controller()
        for name in self.nodes:
            self._start(name, "slurmd", "-D", "-N", name)
        for name in self.nodes:
            self._wait_for_daemon(name, lambda name=name: self.node_state(name) in READY)

    def stop(self) -> None:
        """Kills all jobs and daemons of this cluster; its folder stays as it is."""
        for name in self.nodes:
            self.kill_node(name)
        for name in list(self._daemons):
            self._kill(name)

    def restore(self) -> None:
        """Starts what was killed or stopped, cancels all jobs and waits until they have ended."""
        if "slurmctld" not in self._daemons:
            self.start_controller()
        for name in set(self.nodes) - set(self._daemons):
            self.start_node(name)
        for partition in (NORMAL, URGENT):
            self._ask("scancel", "--partition", partition)
        self.wait(lambda: not self._ask("squeue", "-h"))

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self.stop()

    def run(
        self, *command: str | Path, folder: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as a user of the cluster does.

        Args:
            command: the program and its arguments.
            folder: its working directory, which is also that of a job it submits; the cluster's own
                unless stated.
            check: whether it must succeed.

        Returns:
            The process, with its `stdout` and its `stderr`.
        """
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env={**_outside_of_slurm(os.environ), **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,  # apart: a command that tries again notes that as an error
            text=True,
        )
        assert not check or done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stderr}"
        return done

    def submit(self, script: str, *options: str, folder: Path | None = None) -> str:
        """Submits a batch script and returns the job's number.

        Args:
            script: in Bash, without its first line.
            options: of `sbatch`.
            folder: the job's working directory, where its output goes; the cluster's own unless
                stated.
        """
        path = self.folder / f"script-{secrets.token_hex(4)}"
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        return self.run("sbatch", "--parsable", *options, path, folder=folder).stdout.strip()

    def jobs(self) -> list[Job]:
        """Returns all jobs of the last five minutes, also those that have ended.

        Each task of an array is a job of its own, also while it waits.
        """
        listed = self._ask("squeue", "-h", "-r", "-a", "-t", "all", "-o", "%A|%i|%T|%N|%r")
        rows = (line.split("|", 4) for line in listed.splitlines())
        return [Job(int(number), *fields) for number, *fields in rows]

    def job(self, name: str) -> Job | None:
        """Returns the job of a name (`7` or, of an array, `7_2`), or None if Slurm lists none."""
        return next((job for job in self.jobs() if job.name == name), None)

    def wait_for_job(self, name: str, *states: str, seconds: float = SECONDS) -> Job:
        """Waits until a job is in one of some states, and returns it.

        Args:
            name: of the job: `7` or, of an array, `7_2`.
            states: as `COMPLETED`; any of them will do.
            seconds: how long this may take.

        Raises:
            AssertionError: it took longer.
        """

        def job_in_state() -> Job | None:
            job = self.job(name)
            return job if job and job.state in states else None

        return self.wait(job_in_state, seconds)

    def wait_for_file(self, path: Path, seconds: float = SECONDS) -> str:
        """Waits until a file has contents, and returns them.

        Raises:
            AssertionError: it took longer than `seconds`.
        """
        return self.wait(lambda: path.read_text() if path.is_file() else "", seconds)

    def wait(self, condition: Callable[[], Result], seconds: float = SECONDS) -> Result:
        """Waits until a condition holds.

        Args:
            condition: returns something true once it holds.
            seconds: how long this may take.

        Returns:
            What the condition has returned.

        Raises:
            AssertionError: it took longer. The message has what Slurm says about jobs and nodes.
        """
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, self._describe()
            time.sleep(0.1)
        return result

    def node_state(self, name: str) -> str:
        """Returns a node's state as `sinfo` prints it: `idle`, `mixed`, `allocated`, `down*`."""
        return self._ask("sinfo", "-h", "-N", "-n", name, "-p", NORMAL, "-o", "%T").strip()

    def kill_node(self, name: str, *, jobs: bool = True) -> None:
        """Kills a node as a power cut does: nothing on it gets to say good-bye.

        Args:
            name: of the node.
            jobs: whether all processes of its jobs are killed as well. Otherwise they go on, as
                where only the daemon dies.
        """
        self._kill(name)
        while jobs and (processes := self.job_processes(name)):
            # Slurm's own processes first: they would report how the others have ended.
            for process in sorted(processes, key=lambda each: _name(each) != "slurmstepd"):
                _kill(process)
            psutil.wait_procs(processes, timeout=SECONDS)

    def start_node(self, name: str) -> None:
        """Starts a node that was killed, and waits until it may run jobs again."""
        self._start(name, "slurmd", "-D", "-N", name)
        self._wait_for_daemon(name, lambda: self.node_state(name) in READY)

    def job_processes(self, name: str) -> list[psutil.Process]:
        """Returns the processes of a node's jobs: Slurm's own for each job, and all below them."""
        mark = ("SLURM_CONF", self.environment["SLURM_CONF"]), ("SLURMD_NODENAME", name)
        marked = [
            process
            for process in psutil.process_iter(["environ"])
            if all((process.info["environ"] or {}).get(key) == value for key, value in mark)
        ]
        processes = set(marked)
        for process in marked:
            try:
                parents = [each for each in process.parents() if each.name() == "slurmstepd"]
            except psutil.NoSuchProcess:
                continue
            processes.update(parents, *map(_children, parents))
        return list(processes)

    def stop_controller(self) -> None:
        """Ends the controller, which saves its state. Commands fail until it has started again."""
        daemon = self._daemons.pop("slurmctld")
        daemon.terminate()
        daemon.wait(SECONDS)

    def start_controller(self) -> None:
        """Starts the controller, with the state that was saved, and waits until it answers."""
        self._start("slurmctld", "slurmctld", "-D")
        self._wait_for_daemon(
            "slurmctld", lambda: self.run("scontrol", "ping", check=False).returncode == 0
        )

    def restart_controller(self) -> None:
        """Ends the controller and starts it again."""
        self.stop_controller()
        self.start_controller()

    def _ask(self, *command: str) -> str:
        """Runs a command of Slurm's that may be repeated, and returns its output.

        Where the machine is busy, such a command fails now and then because it got no answer in
        time.
        """

        def answered() -> subprocess.CompletedProcess[str] | None:
            done = self.run(*command, check=False)
            return done if done.returncode == 0 else None

        return self.wait(answered).stdout

    def _write_files(self) -> None:
        """Writes the configuration and Munge's key, and makes the folders that daemons expect."""
        for name in ("state", *self.nodes):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        port, *ports = _free_ports(1 + len(self.nodes))
        nodes = (
            NODE.format(name=name, host=host, port=port, **self._sizes)
            for name, port in zip(self.nodes, ports, strict=True)
        )
        configuration = CONFIGURATION.format(
            folder=self.folder,
            host=host,
            port=port,
            user=psutil.Process().username(),
            nodes="\n".join(nodes),
            normal=NORMAL,
            urgent=URGENT,
            **self._times,
        )
        gpus = DEVICES[: self._sizes["gpus"]]
        files = {
            "slurm.conf": configuration,
            "cgroup.conf": "CgroupAutomount=no\n",
            "gres.conf": "".join(f"Name=gpu File=/dev/{gpu}\n" for gpu in gpus),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def _start(self, name: str, program: str, *arguments: str) -> None:
        """Starts a daemon in the foreground; what it prints goes to the folder."""
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [_program(program), *arguments],
                cwd=self.folder,
                env={**_outside_of_slurm(os.environ), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that Ctrl-C is not for the daemon
            )

    def _wait_for_daemon(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Waits until a daemon is ready. Fails at once if it has ended."""

        def ended_or_ready() -> bool:
            return self._daemons[name].poll() is not None or is_ready()

        self.wait(ended_or_ready)
        printed = (self.folder / f"{name}.out").read_text(encoding="utf-8", errors="replace")
        assert self._daemons[name].poll() is None, f"{name} has ended: {printed}"

    def _kill(self, name: str) -> None:
        """Kills a daemon, if it runs."""
        if daemon := self._daemons.pop(name, None):
            daemon.kill()
            daemon.wait(SECONDS)

    def _describe(self) -> str:
        """Returns what Slurm says about its jobs and nodes."""
        commands = (["scontrol", "show", "jobs"], ["scontrol", "show", "nodes"])
        return "\n".join(self.run(*command, check=False).stdout for command in commands)


def check_installed() -> None:
    """Checks that this machine has Slurm.

    Raises:
        NotInstalledError: a program is missing.
    """
    for name in (*CLIENTS, *DAEMONS):
        _program(name)


def _program(name: str) -> str:
    """Returns the path of a program of Slurm's or Munge's."""
    path = shutil.which(name, path=PLACES)
    if path is None:
        raise NotInstalledError(f"{name} is missing: apt-get install {PACKAGES}")
    return path


def _outside_of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment without the variables of another cluster."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("SLURM", "SBATCH", "SQUEUE", "SINFO", "SCANCEL"))
    }


def _free_ports(count: int) -> list[int]:
    """Returns ports that nothing listens at."""
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]


def _children(process: psutil.Process) -> list[psutil.Process]:
    """Returns the processes below a process; none if it has ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    """Returns the name of a process; an empty text if it has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _kill(process: psutil.Process) -> None:
    """Sends SIGKILL to a process, if it has not ended."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def exports(environment: Mapping[str, str]) -> Iterable[str]:
    """Returns the lines with which a shell sets an environment."""
    return (f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def main() -> None:
    """Runs a cluster until Ctrl-C or SIGTERM."""
    parser = Parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for all files of the cluster")
    parser.add_argument("--nodes", type=int, default=2, help="how many there are")
    options = parser.parse_args()
    with Cluster(options.folder, nodes=options.nodes) as cluster:
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # else SIGTERM would leave the daemons
        print(*exports(cluster.environment), sep="\n", flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
