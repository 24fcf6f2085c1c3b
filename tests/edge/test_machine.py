"""The machine of a run: what the journal keeps of it is what the system itself says."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import pytest

from edge import __version__
from edge.machine import is_in_container, this_run


def test_a_run_names_this_program_and_this_machine() -> None:
    run = this_run()
    assert (run.version, run.system, run.logical_cores) == (__version__, "Linux", os.cpu_count())
    assert run.physical_cores is None or 1 <= run.physical_cores <= (run.logical_cores or 1)
    total_kb = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert total_kb is not None
    assert run.memory_bytes == int(total_kb[1]) * 1024
    assert run.system_version.endswith(platform.release())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".dockerenv", b""),
        ("run/.containerenv", b""),
        ("run/systemd/container", b"systemd-nspawn"),
        ("proc/1/environ", b"PATH=/bin\0container=lxc\0"),
        ("proc/1/cgroup", b"12:memory:/docker/0123456789ab\n"),
        ("proc/1/cgroup", b"0::/kubepods.slice/kubepods-besteffort.slice/cri-containerd-01.scope\n"),
        ("proc/1/cgroup", b"0::/machine.slice/libpod-01.scope\n"),
        ("proc/1/cgroup", b"0::/lxc/web\n"),
    ],
)
def test_a_container_is_known_by_what_its_engine_leaves(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(content)
    assert is_in_container(tmp_path)


@pytest.mark.parametrize("cgroup", [b"0::/init.scope\n", b"0::/\n", b"1:name=systemd:/init.scope\n0::/init.scope\n"])
def test_a_machine_of_its_own_is_no_container(tmp_path: Path, cgroup: bytes) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cgroup").write_bytes(cgroup)
    (tmp_path / "proc/1/environ").write_bytes(b"PATH=/bin\0mycontainer=1\0")
    assert not is_in_container(tmp_path)


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert not is_in_container(tmp_path / "nowhere")
