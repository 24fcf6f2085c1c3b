"""What the trainer writes is there as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.files import remove, replace_file, replaced_folder


def folder_of(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def killed_while_writing(target: Path, before: str = "pass") -> None:
    """Let a process write a folder, and kill it when it has half of it."""
    code = (
        "import os, signal, sys; from pathlib import Path; from trainer import files\n"
        f"target = Path(sys.argv[1])\n{before}\n"
        "with files.replaced_folder(target) as folder:\n"
        "    (folder / 'file').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", b"old")
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "a folder is not replaced by a file")
    with pytest.raises(IsADirectoryError):
        replace_file(target, b"new")
    assert (target / "file").is_file()
    assert names(tmp_path) == ["target"]


def test_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "old")
    with replaced_folder(target) as folder:
        (folder / "other").write_text("new")
        assert (target / "file").read_text() == "old"
    assert names(target) == ["other"]
    assert names(tmp_path) == ["target"]


def test_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"


@pytest.mark.parametrize("end", [OSError("no room"), SystemExit(143), KeyboardInterrupt()])
def test_folder_that_was_not_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path, end: BaseException) -> None:
    target = folder_of(tmp_path / "target", "old")
    with pytest.raises(type(end)), replaced_folder(target) as folder:
        (folder / "file").write_text("half")
        raise end
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_signal_between_the_two_renames_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = folder_of(tmp_path / "target", "old")
    rename = os.rename

    def ended(source: Path, to: Path) -> None:
        rename(source, to)
        if source == target:
            raise SystemExit(143)

    monkeypatch.setattr(os, "rename", ended)
    with pytest.raises(SystemExit), replaced_folder(target) as folder:
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_kill_while_a_folder_is_written_leaves_the_old_one_and_the_next_writer_clears_up(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "old")
    killed_while_writing(target)
    assert (target / "file").read_text() == "old"
    assert len(names(tmp_path)) == 2
    with replaced_folder(target) as folder:
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "old")
    killed_while_writing(target)
    (wreck,) = (entry for entry in tmp_path.iterdir() if entry != target)
    target.rename(wreck / "old")
    with pytest.raises(OSError, match="no room"), replaced_folder(target):
        assert (target / "file").read_text() == "old"
        raise OSError("no room")
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_folder_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with replaced_folder(target) as slow:
        (slow / "file").write_text("slow")
        with replaced_folder(target) as quick:
            (quick / "file").write_text("quick")
        assert (slow / "file").read_text() == "slow"
    assert (target / "file").read_text() == "slow"
    assert names(tmp_path) == ["target"]


def test_what_only_looks_alike_is_not_cleared_away(tmp_path: Path) -> None:
    mine = [".target-notes", ".target.writing-by-hand", ".other.writing-abcdefgh"]
    for name in mine:
        folder_of(tmp_path / name, "mine")
    with replaced_folder(tmp_path / "target"):
        pass
    assert names(tmp_path) == sorted([*mine, "target"])


def test_remove_takes_files_folders_and_what_is_not_there(tmp_path: Path) -> None:
    kept = folder_of(tmp_path / "kept", "kept")
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "link", tmp_path / "file", folder_of(tmp_path / "folder", ""), tmp_path / "nothing"):
        remove(path)
    assert names(tmp_path) == ["kept"]
    assert (kept / "file").read_text() == "kept"
