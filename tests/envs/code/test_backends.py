"""Choosing a back end, and what is said where it cannot be had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
from kintsugi.envs.code.sandbox import (
    Limits,
    Unavailable,
    docker_engine,
    open_sandbox,
    owner,
)
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.envs.code.sandbox.conformance import Bench, run_check
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox
from kintsugi.errors import InfraError, UsageError
from sandboxes import bubblewrap


def in_new_process(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run code that finds the modules in these folders before others."""
    head = f"import sys; sys.path[:0] = {[*map(str, folders), *sys.path]!r}\n"
    head += "from kintsugi.envs.code.sandbox import open_sandbox, shared_sandbox\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False)


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def no_bubblewrap(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.requires("bwrap")
@pytest.mark.usefixtures("no_engine")
def test_auto_is_bubblewrap_where_no_engine_answers(monkeypatch):
    with open_sandbox("auto") as sandbox:
        assert sandbox.name == "bubblewrap"
        assert sandbox.run("print(1)").stdout == b"1\n"
    monkeypatch.setenv("KINTSUGI_SANDBOX", "docker")
    with pytest.raises(
        Unavailable, match=r"no Docker engine answers .*start one .*or choose the back end 'bubblewrap'"
    ):
        open_sandbox()


@pytest.mark.requires("docker")
def test_auto_is_docker_where_an_engine_answers():
    with open_sandbox("auto") as sandbox:
        assert sandbox.name == "docker"


@pytest.mark.usefixtures("no_engine", "no_bubblewrap")
def test_without_any_back_end_nothing_runs_and_both_reasons_are_said():
    with pytest.raises(UsageError, match="never run without one") as caught:
        open_sandbox("auto")
    assert "start one" in str(caught.value)
    assert "install the package 'bubblewrap'" in str(caught.value)


def test_unknown_back_ends_are_named():
    with pytest.raises(UsageError, match="unknown sandbox 'doker'; did you mean 'docker'"):
        open_sandbox("doker")


def test_without_the_library_the_extra_is_named(tmp_path):
    (tmp_path / "docker.py").write_text("raise ImportError")
    done = in_new_process("open_sandbox('docker')", tmp_path)
    assert "MissingExtraError: 'docker' is not installed" in done.stderr
    assert "pip install 'kintsugi[code]'" in done.stderr


@pytest.mark.requires("docker")
def test_a_missing_image_says_how_to_make_it():
    with pytest.raises(UsageError, match="has no image 'kintsugi-no-such:1'; make it with: kintsugi sandbox build"):
        DockerSandbox(image="kintsugi-no-such:1")


@pytest.mark.requires("docker")
def test_more_cores_than_the_machine_has_are_all_that_it_has():
    sandbox = DockerSandbox(warm=0)
    try:
        assert sandbox.run("print(1)", limits=Limits(cpus=100_000)).stdout == b"1\n"
    finally:
        sandbox.close()


@pytest.mark.requires("docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_socket_without_permission_says_whom_to_ask():
    said, to = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            open_sandbox("docker")
        except Exception as error:
            os.write(to, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(to)
    os.waitpid(pid, 0)
    with open(said) as file:
        text = file.read()
    assert text.startswith("Unavailable: the Docker socket refuses this user (permission denied); add the user to")


@pytest.mark.parametrize(
    "limits", [{"seconds": 0}, {"memory": -1}, {"processes": 0}, {"cpu_seconds": 1.5}, {"seconds": 1e300}]
)
def test_limits_of_nothing_are_refused(limits):
    with pytest.raises(UsageError, match=rf"the sandbox limit {next(iter(limits))} is "):
        Limits(**limits)


def test_one_sandbox_is_shared_until_the_process_ends(tmp_path):
    source = """
    from sandboxes import Scripted

    class Speaking(Scripted):
        def __init__(self):
            super().__init__()
            print("opened")

        def close(self):
            print("closed")
    """
    (tmp_path / "speaking.py").write_text(textwrap.dedent(source))
    code = "print(shared_sandbox('speaking:Speaking') is shared_sandbox('speaking:Speaking'))"
    done = in_new_process(code, tmp_path)
    assert done.stdout.split() == ["opened", "True", "closed"], done.stderr


@pytest.mark.requires("bwrap")
def test_a_forked_child_leaves_its_parents_sandbox_alone():
    with BubblewrapSandbox() as sandbox:
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                sandbox.run("print(1)")
            except UsageError as error:
                code = 7 if "before a fork" in str(error) else 0
            sandbox.close()
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert sandbox.run("print(2)").stdout == b"2\n"


def test_bubblewrap_that_may_not_make_namespaces_is_unavailable(monkeypatch):
    # Not below the folder of this test, which only its owner may enter: root starts bubblewrap as somebody else.
    with tempfile.TemporaryDirectory() as folder:
        fake = Path(folder, "bwrap")
        fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
        fake.chmod(0o755)
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(Unavailable, match=r"its namespaces here .*No permissions to .*allow unprivileged user"):
            BubblewrapSandbox()


@pytest.mark.requires("bwrap")
def test_without_a_cgroup_rlimits_and_the_worker_watch_the_memory():
    checks = ("stops_memory_bombs", "stops_memory_bombs_of_many", "stops_fork_bombs", "counts_processes")
    with Bench(bubblewrap(cgroups=False)) as bench:
        # Where there is a cgroup, the worker finds the kernel's count of it there.
        bench.says("import os; print(os.path.exists('/run/oom'))", "False")
        assert [run_check(bench, check) for check in checks] == [""] * len(checks)


@pytest.fixture
def engine(tmp_path_factory, monkeypatch):
    """A Docker engine of our own that may be killed, with the image in it."""
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        pytest.skip("needs dockerd, as root")
    folder = tmp_path_factory.mktemp("engine")
    socket = f"unix://{folder}/docker.sock"
    command = [
        program, "--iptables=false", "--bridge=none", "-H", socket, "--data-root", str(folder / "data"),
        "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
    ]  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with open(folder / "log", "ab") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        while True:
            try:
                docker_engine.connect()
                return
            except Unavailable:
                assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                time.sleep(0.2)

    def kill() -> None:
        running[-1].kill()
        running[-1].wait()
        # Where nobody reaps orphans, the next engine takes what is left of this one for alive.
        for name in ("pid", "exec/containerd/containerd.pid"):
            (folder / name).unlink(missing_ok=True)

    image = docker_engine.connect().get_image(docker_engine.IMAGE)
    monkeypatch.setenv("DOCKER_HOST", socket)
    start()
    docker_engine.connect().load_image(image)
    yield type("Engine", (), {"start": staticmethod(start), "kill": staticmethod(kill)})
    try:
        docker_engine.clean(docker_engine.connect(), everything=True)
    finally:
        running[-1].send_signal(signal.SIGTERM)
        running[-1].wait(30)
        # An engine that is killed leaves its folder mounted on itself.
        subprocess.run(["umount", "--lazy", str(folder / "data")], capture_output=True)


@pytest.mark.requires("docker")
def test_an_engine_that_is_killed_is_an_infra_error_and_is_recovered_from(engine):
    with DockerSandbox() as sandbox:
        outcome: list[object] = []

        def run() -> None:
            try:
                outcome.append(sandbox.run("import time; time.sleep(60)", limits=Limits(seconds=90)))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1)
        engine.kill()
        thread.join(60)
        assert isinstance(outcome[0], InfraError)
        with pytest.raises(InfraError):
            sandbox.run("print(1)")
        engine.start()
        assert sandbox.run("print(2)").stdout == b"2\n"
        held = sandbox.holdings()
    assert held
    assert docker_engine.containers(docker_engine.connect()) == []


def lost(end):
    """What a program comes to whose container `end` is done to, and what the next one prints."""
    client = docker_engine.connect()
    with DockerSandbox(size=1) as sandbox:
        sandbox.run("print(1)")
        (name,) = sandbox.holdings()
        threading.Timer(0.5, end, (client, name)).start()
        try:
            return sandbox.run("import time; time.sleep(30)", limits=Limits(seconds=60))
        except InfraError as error:
            return error
        finally:
            assert sandbox.run("print(2)").stdout == b"2\n"


@pytest.mark.requires("docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="ends a process of the engine's, which root may")
def test_whose_doing_it_was_that_a_container_ended_is_what_the_engine_remembers():
    error = lost(lambda client, name: client.kill(name))
    assert isinstance(error, InfraError)
    assert "the sandbox container was killed from outside" in str(error)
    result = lost(lambda client, name: os.kill(client.inspect_container(name)["State"]["Pid"], signal.SIGKILL))
    assert (result.exit, result.stderr) == (-9, b"the sandbox ended together with the program\n")


@pytest.mark.requires("docker")
def test_clean_removes_what_killed_runs_left_and_nothing_else():
    client = docker_engine.connect()
    with DockerSandbox() as sandbox:
        labels = docker_engine.labels("lost") | {"kintsugi.owner": f"{owner.this_process()}0"}
        made = client.create_container(docker_engine.IMAGE, ["true"], labels=labels, name="kintsugi-test-lost")["Id"]
        old = docker_engine.labels("old") | {"kintsugi.owner": "unknown", "kintsugi.expires": "1"}
        client.create_container(docker_engine.IMAGE, ["true"], labels=old, name="kintsugi-test-old")
        new = docker_engine.labels("new") | {"kintsugi.owner": "unknown"}
        kept = client.create_container(docker_engine.IMAGE, ["true"], labels=new, name="kintsugi-test-new")["Id"]
        try:
            assert sorted(docker_engine.clean(client)) == ["kintsugi-test-lost", "kintsugi-test-old"]
            assert sandbox.run("print(1)").stdout == b"1\n"
        finally:
            docker_engine.remove(client, kept)
            docker_engine.remove(client, made)


@pytest.mark.requires("docker")
def test_a_container_is_locked_down():
    client = docker_engine.connect()
    with DockerSandbox() as sandbox:
        [name] = sandbox.holdings()
        about = client.inspect_container(name)
    host = about["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"]
    assert host["LogConfig"]["Type"] == "none"
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["PidsLimit"] > 0
    assert host["NanoCpus"] == 10**9
    assert host["Binds"] is None
    assert about["Mounts"] == []
    assert about["Config"]["User"] == "65534:65534"
