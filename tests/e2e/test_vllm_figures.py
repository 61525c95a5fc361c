"""The figures of the README's section about vLLM are those of the committed results."""

import json
from pathlib import Path

from rushes.bench import guidance, vllm_throughput

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def section(name: str) -> str:
    return README.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- /{name} -->")[0]


def test_the_table_of_guidance():
    report = json.loads((ROOT / "results" / "guidance.json").read_text())
    assert section("guidance") == "\n".join(guidance.table(report))
    assert all(len(row["by_sample"]) == report["samples"] for row in report["rows"])


def test_what_drafting_buys_inside_vllm():
    report = json.loads((ROOT / "results" / "vllm.json").read_text())
    assert section("vllm") == "\n".join(vllm_throughput.table(report))
    assert all(len(runs["by_round"]) == report["rounds"] for runs in report["tokens_per_second"].values())


def test_the_commands_name_what_exists():
    from rushes.integrations.vllm.settings import Settings

    assert "rushes.integrations.vllm.VideoDrafter" in README
    for setting in ("draft", "scorer", "keep", "guidance", "guidance_layers", "draft_memory_gib"):
        assert setting in Settings.__dataclass_fields__
        assert f'"{setting}"' in README or f"`{setting}`" in README
