"""The figures of the README's section about the server are those of the committed results."""

import json
from pathlib import Path
from typing import Any

from rushes.bench import follow_up

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def report(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "results" / name).read_text()))


def test_what_a_follow_up_gains() -> None:
    made = report("follow_up.json")
    section = README.split("<!-- follow-up -->\n")[1].split("\n<!-- /follow-up -->")[0]
    assert section == "\n".join(follow_up.table(made))
    assert all(len(found["rows"]) == made["videos"] for found in made["found"].values())


def test_what_the_load_showed() -> None:
    made = report("load.json")
    assert all(made["conditions"].values())
    requests = made["requests"]
    words = (
        f"{made['clients']} clients for {made['seconds'] / 60:.0f} minutes",
        f"{requests['sent']:,} requests",
        f"{requests['answered']:,} answered",
        f"{made['counted_by_the_server']['cancelled']} cancelled",
        f"{made['counted_by_the_server']['refused']} refused",
        f"{made['memory_mib']['before']['rss']:.0f} MiB before and {made['memory_mib']['after']['rss']:.0f} after",
    )
    for said in words:
        assert said in " ".join(README.split()), said
