"""What result files say: options and numbers, and nothing of the machine's folders."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.report import plain_options, save_run

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@dataclasses.dataclass(frozen=True)
class Options:
    n_envs: int = 4
    sizes: tuple[int, ...] = (64, 250)
    out: Path | None = None


def test_a_result_has_the_options_without_the_path_it_is_written_to(tmp_path):
    options = Options(out=tmp_path / "new" / "result.json")
    save_run(options, seconds=1.5)
    result = json.loads((tmp_path / "new" / "result.json").read_text())
    assert result["options"] == {"n_envs": 4, "sizes": [64, 250]} and result["seconds"] == 1.5
    assert plain_options(Options()) == {"n_envs": 4, "sizes": (64, 250), "out": None}


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_results_name_no_folder_of_a_machine(path):
    assert not [text for text in strings(json.loads(path.read_text())) if text.startswith(("/", "~"))]
