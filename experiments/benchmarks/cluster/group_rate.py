"""group_rate.py LOG: images a second of one rank beside another, and the seconds from a run's start to its first training."""

import datetime
import json
import sys

events = [json.loads(line) for line in open(sys.argv[1])]
time = lambda e: datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")).timestamp()
finished = [e for e in events if e["event"] == "finished" and e.get("unit") == "images"]
# While both ranks train.
together = sorted(finished, key=time)[:2]
rate = sum(e["rate"] for e in together) / len(together)
started = min(time(e) for e in events if e["event"] == "run_started")
first = min(time(e) for e in events if e["event"] == "stage_started" and e["stage"].startswith("ingredient"))
print(f"{rate:.2f} {first - started + 0.5:.2f}")  # and half a second before the first word
