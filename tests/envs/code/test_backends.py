"""The sandbox backends: choosing one, error messages when one is unavailable, lost workers and clean-up."""

from __future__ import annotations

import json
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
from kintsugi.envs.code.conformance import CheckContext, run_check
from kintsugi.envs.code.sandbox import (
    Limits,
    Unavailable,
    docker_engine,
    open_sandbox,
    owner,
)
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox
from kintsugi.errors import InfraError, UsageError
from sandboxes import bubblewrap


def in_new_process(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, with these folders at the front of the import path."""
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
def test_auto_is_bubblewrap_if_no_engine_answers(monkeypatch):
    with open_sandbox("auto") as sandbox:
        assert sandbox.name == "bubblewrap"
        assert sandbox.run("print(1)").stdout == b"1\n"
    monkeypatch.setenv("KINTSUGI_SANDBOX", "docker")
    with pytest.raises(Unavailable, match=r"no Docker engine answers .*start one .*or choose the backend 'bubblewrap'"):
        open_sandbox()


@pytest.mark.requires("docker")
def test_auto_is_docker_if_an_engine_answers():
    with open_sandbox("auto") as sandbox:
        assert sandbox.name == "docker"


@pytest.mark.usefixtures("no_engine", "no_bubblewrap")
def test_without_any_backend_the_error_gives_both_reasons():
    with pytest.raises(UsageError, match="never runs without one") as caught:
        open_sandbox("auto")
    assert "start one" in str(caught.value)
    assert "install the package 'bubblewrap'" in str(caught.value)


def test_unknown_backends_raise_usage_error():
    with pytest.raises(UsageError, match="unknown sandbox 'doker'; did you mean 'docker'"):
        open_sandbox("doker")


def test_error_names_the_extra_if_docker_is_not_installed(tmp_path):
    (tmp_path / "docker.py").write_text("raise ImportError")
    done = in_new_process("open_sandbox('docker')", tmp_path)
    assert "MissingExtraError: 'docker' is not installed" in done.stderr
    assert "pip install 'kintsugi[code]'" in done.stderr


@pytest.mark.requires("docker")
def test_error_for_a_missing_image_says_how_to_make_it():
    with pytest.raises(UsageError, match="has no image 'kintsugi-no-such:1'; make it with: kintsugi sandbox build"):
        DockerSandbox(image="kintsugi-no-such:1")


@pytest.mark.requires("docker")
def test_cpus_above_the_number_of_cores_are_accepted():
    sandbox = DockerSandbox(warm=0)
    try:
        assert sandbox.run("print(1)", limits=Limits(cpus=100_000)).stdout == b"1\n"
    finally:
        sandbox.close()


@pytest.mark.requires("docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_error_for_a_socket_without_permission_says_what_to_do():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            open_sandbox("docker")
        except Exception as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader) as file:
        text = file.read()
    assert text.startswith("Unavailable: this user has no permission to use the Docker socket; add the user to")


@pytest.mark.parametrize(
    "limits", [{"seconds": 0}, {"memory": -1}, {"processes": 0}, {"cpu_seconds": 1.5}, {"seconds": 1e300}]
)
def test_invalid_limits_are_refused(limits):
    with pytest.raises(UsageError, match=rf"the sandbox limit {next(iter(limits))} is "):
        Limits(**limits)


def test_shared_sandbox_is_opened_once_and_closed_at_exit(tmp_path):
    source = """
    from sandboxes import ScriptedSandbox

    class Speaking(ScriptedSandbox):
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
def test_a_forked_child_cannot_use_or_close_its_parents_sandbox():
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


def test_bubblewrap_without_permission_to_create_namespaces_is_unavailable(monkeypatch):
    # Only the owner may enter the folder `tmp_path`, but root starts bubblewrap as another user.
    with tempfile.TemporaryDirectory() as folder:
        fake = Path(folder, "bwrap")
        fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
        fake.chmod(0o755)
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(
            Unavailable, match=r"cannot create namespaces .*No permissions to .*allow unprivileged user"
        ):
            BubblewrapSandbox()


@pytest.mark.requires("bwrap")
def test_limits_are_enforced_without_a_cgroup():
    checks = (
        "stops_memory_bombs", "stops_memory_bombs_of_many_processes", "stops_fork_bombs", "counts_processes",
        "counts_memory_of_all_kinds", "counts_shared_pages_once", "restores_used_resources", "has_the_standard_library",
        "gives_a_result_whatever_is_used_up",
    )  # fmt: skip
    with CheckContext(bubblewrap(cgroups=False)) as context:
        # With a cgroup, this file holds the kernel's count of killed processes.
        context.expect_output("import os; print(os.path.exists('/run/oom'))", "False")
        assert [run_check(context, check) for check in checks] == [""] * len(checks)


@pytest.fixture
def engine(tmp_path_factory, monkeypatch):
    """Start a separate Docker engine that has the image and that tests may kill."""
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
        # Where orphans are not reaped, the next engine would assume from these files that the killed one still runs.
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
        # A killed engine leaves its data folder mounted.
        subprocess.run(["umount", "--lazy", str(folder / "data")], capture_output=True)


@pytest.mark.requires("docker")
def test_a_killed_engine_is_an_infra_error_and_the_sandbox_recovers(engine):
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
        held = sandbox.open_workers()
    assert held
    assert docker_engine.containers(docker_engine.connect()) == []


def run_and_kill(kill):
    """Return the result or error of a program whose container `kill` ends. Also checks that the next program runs."""
    client = docker_engine.connect()
    with DockerSandbox(size=1) as sandbox:
        sandbox.run("print(1)")
        (name,) = sandbox.open_workers()
        threading.Timer(0.5, kill, (client, name)).start()
        try:
            return sandbox.run("import time; time.sleep(30)", limits=Limits(seconds=60))
        except InfraError as error:
            return error
        finally:
            assert sandbox.run("print(2)").stdout == b"2\n"


@pytest.mark.requires("docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to kill a process of the engine")
def test_the_engines_events_show_who_ended_a_container():
    error = run_and_kill(lambda client, name: client.kill(name))
    assert isinstance(error, InfraError)
    assert "the sandbox container was killed from outside" in str(error)
    result = run_and_kill(lambda client, name: os.kill(client.inspect_container(name)["State"]["Pid"], signal.SIGKILL))
    assert (result.exit, result.stderr) == (-9, b"the sandbox ended together with the program\n")


class DyingSandbox(BubblewrapSandbox):
    """A sandbox whose worker ends when a program has ended, as a worker does that the program has harmed."""

    def command(self, config):
        *head, sources, settings = super().command(config)
        modules = dict(json.loads(sources))
        assert "    elapsed = " in modules["worker"]
        modules["worker"] = modules["worker"].replace("    elapsed = ", "    os._exit(3)\n    elapsed = ")
        return [*head, json.dumps(list(modules.items())), settings]


@pytest.mark.requires("bwrap")
def test_a_worker_that_ends_under_a_program_is_a_failure_of_the_program():
    with DyingSandbox(size=1) as sandbox:
        for _ in range(2):
            result = sandbox.run("print(1)")
            assert (result.exit, result.stderr) == (-9, b"the sandbox ended together with the program\n")


def user_of(pid):
    """Return the user and group of a process, as seen from here."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {int(number) for name in ("Uid", "Gid") for number in lines[name].split()}


@pytest.mark.requires("bwrap")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run workers as other users")
def test_each_bubblewrap_worker_has_a_user_of_its_own_and_sees_itself_as_nobody():
    with BubblewrapSandbox(size=3, warm=3) as sandbox:
        users = [user_of(name.removeprefix("bwrap-")) for name in sandbox.open_workers()]
        assert sandbox.run("import os; print(os.getuid(), os.getgid())").text == "65534 65534\n"
    assert [len(each) for each in users] == [1, 1, 1]
    assert len(set.union(*users)) == 3
    assert not set.union(*users) & {0, 65534}


@pytest.mark.requires("docker")
def test_each_container_has_a_user_of_its_own():
    client = docker_engine.connect()
    with DockerSandbox(size=3, warm=3) as sandbox:
        users = {client.inspect_container(name)["Config"]["User"] for name in sandbox.open_workers()}
    assert len(users) == 3


@pytest.mark.requires("docker")
def test_a_container_does_not_depend_on_the_filter_of_its_engine():
    """The worker installs its own filter, so there are two of them in the engine's containers."""
    with DockerSandbox() as sandbox:
        text = sandbox.run("print(*(line for line in open('/proc/self/status') if line.startswith('Seccomp')))").text
    assert "Seccomp:\t2" in text
    assert int(text.split("Seccomp_filters:")[1].split()[0]) >= 2


@pytest.mark.requires("docker")
def test_clean_removes_only_expired_containers_and_those_of_killed_runs():
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
def test_a_container_has_no_privileges():
    client = docker_engine.connect()
    with DockerSandbox() as sandbox:
        [name] = sandbox.open_workers()
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
    user, _, group = about["Config"]["User"].partition(":")
    assert user == group
    assert int(user) > 1000
