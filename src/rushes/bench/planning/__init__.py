"""How fast would a pair be on a device, by which schedule, and why: predictions from configs, without a run."""
