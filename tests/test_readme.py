"""The documentation's code runs, its commands are understood, and its links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from rcjax import cli
from rcjax.config import demo, to_json

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "rcjax/README.md", "rcjax/envs/README.md",
    "rcjax/encoders/SMALL.md", "benchmarks/README.md", "benchmarks/HISTORY.md", "experiments/README.md",
)  # fmt: skip


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def commands() -> list[str]:
    """The lines of shell blocks, and what stands in backquotes, that begin with rcjax or python -m."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        lines += re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        found += [" ".join(line.split()) for line in lines]
    starts = re.compile(r"(\S+=\S+ )*(\S*/)?(rcjax (train|eval|reward|align|record)\b|python -m \S)")
    return sorted({line.split(" && ")[-1] for line in found if starts.match(line.split(" && ")[-1])})


def test_there_are_commands():
    assert len(commands()) > 30 and ".venv/bin/rcjax train" in commands()


@pytest.fixture
def run_to_finetune(tmp_path, monkeypatch):
    """The working folder has the runs that commands name."""
    monkeypatch.chdir(tmp_path)
    for name in ("RUN", "runs/NAME"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(to_json(demo()))


@pytest.mark.parametrize("command", commands())
def test_a_command_is_understood(command, run_to_finetune):
    """Commands of rcjax are parsed whole, unless some of them is left out; of others, the module has to exist."""
    words = [word for word in shlex.split(command, comments=True) if not re.fullmatch(r"\w+=\S*", word)]
    if words[0].endswith("python"):
        assert words[2].endswith(".NAME") or importlib.util.find_spec(words[2]) is not None
        return
    arguments = ["2" if word == "N" else word for word in words[1:]]
    complete = "..." not in arguments and arguments[-1] not in ("--which", "eval", "reward", "record")
    assert not complete or cli.parse(arguments) is not None


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / page).read_text())
    links += re.findall(r'src="([^"]+)"', (ROOT / page).read_text())
    missing = [link for link in links if not link.startswith("http") and not (folder / link).exists()]
    assert not missing


@pytest.mark.slow
def test_python_blocks_run(tiny_video, tmp_path, monkeypatch):
    """They find an episode in the working folder. Those of rcjax/envs/README.md are run by `test_adapters`."""
    from rcjax.video_io import read_video, write_video

    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "episode.mp4", read_video(tiny_video), fps=10)
    (block,) = blocks("README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
