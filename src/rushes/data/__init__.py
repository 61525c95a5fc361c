"""Public video benchmarks, as their Hugging Face hubs publish them, and one's own lists of videos; read from disk.

Nothing is downloaded here. `open_data("MVBench=/data/MVBench")` gives samples one by one, `score` tells whether an
answer is right. What is missing from a copy is listed in `Data.skipped`, not fatal.
"""

from rushes.data.registry import DATASETS, Data, Reader, open_data
from rushes.data.sample import Kind, Missing, Sample, Skipped
from rushes.data.scoring import letter_in, normalised, score

__all__ = [
    "DATASETS",
    "Data",
    "Kind",
    "Missing",
    "Reader",
    "Sample",
    "Skipped",
    "letter_in",
    "normalised",
    "open_data",
    "score",
]
