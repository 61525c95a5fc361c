"""What is counted, and under which labels."""

from rushes.serve.job import Done
from rushes.serve.metrics import Metrics

SAID = {"num_spec_steps": 2, "num_draft_tokens": 10, "num_accepted_draft_tokens": 5}


def test_clients_cannot_make_labels_without_end() -> None:
    metrics = Metrics()
    sizes = []
    for crop in range(1, 201):
        done = Done("stop", 10, 0, 4, {"speculative_decoding": SAID}, {"method": f"hippo:crop={crop}"})
        metrics.count_answer(done, 1.0, 0.5)
        sizes.append(metrics.text().count(b"\n"))
    assert sizes[0] == sizes[-1]
    metrics.count_answer(Done("stop", 10, 0, 4, {"speculative_decoding": SAID}, {"method": "hippo"}), 1.0, 0.5)
    text = metrics.text().decode()
    assert 'rushes_request_success_total{finished_reason="stop",method="custom"} 200.0' in text
    assert 'rushes_request_success_total{finished_reason="stop",method="hippo"} 1.0' in text
