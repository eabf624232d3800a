"""`kintsugi sandbox build` and `clean`, by the command line."""

from __future__ import annotations

import uuid

import pytest
from command_line import refused, said
from kintsugi.envs.code.sandbox import docker_engine, owner
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.requires("docker")
def test_build_makes_nothing_twice(capsys):
    client = docker_engine.connect()
    before = client.inspect_image(docker_engine.IMAGE)["Id"]
    assert said(capsys, "sandbox", "build") == (0, f"{docker_engine.IMAGE}: it is there already\n", "")
    assert client.inspect_image(docker_engine.IMAGE)["Id"] == before


@pytest.mark.requires("docker")
def test_build_says_what_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    image = f"kintsugi-test:{uuid.uuid4().hex}"
    code, out, err = said(capsys, "sandbox", "build", "--method", "debootstrap", "--image", image)
    assert code == 2
    assert out.startswith("making kintsugi-test:")
    assert "install the package 'debootstrap', or use --method dockerfile" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("no_engine")
def test_build_without_an_engine_is_one_line_and_exit_code_2(capsys):
    assert "no Docker engine answers" in refused(capsys, "sandbox", "build")


@pytest.mark.requires("docker")
def test_clean_removes_what_a_killed_run_left_and_says_so(capsys):
    client, name = docker_engine.connect(), f"kintsugi-test-{uuid.uuid4().hex[:8]}"
    with DockerSandbox() as alive:
        labels = docker_engine.labels("lost") | {"kintsugi.owner": f"{owner.this_process()}0"}
        client.create_container(docker_engine.IMAGE, ["true"], labels=labels, name=name)
        code, out, err = said(capsys, "sandbox", "clean")
        assert (code, err) == (0, "")
        assert f"removed {name}" in out.splitlines()
        assert out.splitlines()[-1].endswith("left-overs removed")
        assert client.containers(all=True, filters={"name": name}) == []
        assert alive.run("print(1)").stdout == b"1\n"
        assert name not in said(capsys, "sandbox", "clean")[1]


@pytest.mark.usefixtures("no_engine")
def test_clean_without_an_engine_says_what_it_could_not_look_for(capsys):
    code, out, _ = said(capsys, "sandbox", "clean")
    assert code == 0
    assert "containers were not looked for: no Docker engine answers" in out
