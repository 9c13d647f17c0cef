"""rates.py LABEL LOG...: images a second of the trainings in a run's logs, together, and what their checkpoints cost, as a JSON line."""

import json
import sys

label, *logs = sys.argv[1:]
finished, checkpoints = [], []
for log in logs:
    for line in open(log):
        event = json.loads(line)
        if event["event"] == "finished" and event.get("unit") == "images" and event["stage"].startswith("ingredient"):
            finished.append(event)
        if event["event"] == "checkpoint":
            checkpoints.append(event)
print(
    json.dumps(
        {
            "label": label,
            "images_per_second": sum(e["rate"] for e in finished),
            "trainings": len(finished),
            "checkpoints": len(checkpoints),
            "checkpoint_mib": max((e["bytes"] for e in checkpoints), default=0) / 2**20,
            "written_seconds": sum(e["seconds"] for e in checkpoints),
            "waited_seconds": sum(e["waited_seconds"] for e in checkpoints),
        }
    )
)
