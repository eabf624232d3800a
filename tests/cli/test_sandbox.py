"""The commands `kintsugi sandbox build` and `kintsugi sandbox clean`."""

from __future__ import annotations

import uuid

import pytest
from command_line import refused, run_command
from kintsugi.envs.code.sandbox import docker_engine, owner
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.requires("docker")
def test_build_does_not_rebuild_an_existing_image(capsys):
    client = docker_engine.connect()
    before = client.inspect_image(docker_engine.IMAGE)["Id"]
    assert run_command(capsys, "sandbox", "build") == (0, f"{docker_engine.IMAGE}: already exists\n", "")
    assert client.inspect_image(docker_engine.IMAGE)["Id"] == before


@pytest.mark.requires("docker")
def test_build_reports_a_missing_program(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    image = f"kintsugi-test:{uuid.uuid4().hex}"
    code, out, err = run_command(capsys, "sandbox", "build", "--method", "debootstrap", "--image", image)
    assert code == 2
    assert out.startswith("making kintsugi-test:")
    assert "install the package 'debootstrap', or use --method dockerfile" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("no_engine")
def test_build_without_an_engine_prints_one_line_and_exits_with_2(capsys):
    assert "no Docker engine answers" in refused(capsys, "sandbox", "build")


@pytest.mark.requires("docker")
def test_clean_removes_and_lists_leftovers_of_a_killed_run(capsys):
    client, name = docker_engine.connect(), f"kintsugi-test-{uuid.uuid4().hex[:8]}"
    with DockerSandbox() as alive:
        labels = docker_engine.labels("lost") | {"kintsugi.owner": f"{owner.this_process()}0"}
        client.create_container(docker_engine.IMAGE, ["true"], labels=labels, name=name)
        code, out, err = run_command(capsys, "sandbox", "clean")
        assert (code, err) == (0, "")
        assert f"removed {name}" in out.splitlines()
        assert out.splitlines()[-1].startswith("leftovers removed: ")
        assert client.containers(all=True, filters={"name": name}) == []
        assert alive.run("print(1)").stdout == b"1\n"
        assert name not in run_command(capsys, "sandbox", "clean")[1]


@pytest.mark.usefixtures("no_engine")
def test_clean_without_an_engine_reports_unchecked_containers(capsys):
    code, out, _ = run_command(capsys, "sandbox", "clean")
    assert code == 0
    assert "containers were not checked: no Docker engine answers" in out
