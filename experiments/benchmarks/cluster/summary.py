"""summary.py LINES: medians of run.sh's JSON lines, and the ratios that matter."""

import collections
import json
import statistics
import sys

reduce, train = collections.defaultdict(list), collections.defaultdict(list)
for line in open(sys.argv[1]):
    item = json.loads(line)
    (train[item["label"]] if "label" in item else reduce[item["ranks"]]).append(item)


def median(items, key):
    return statistics.median(item[key] for item in items)


for ranks, items in reduce.items():
    ours, floats, sums = (median(items, key) for key in ("soup", "allreduce_float", "allreduce_int64"))
    print(
        f"{ranks} ranks, {items[0]['mib']} MiB of weights, {len(items)} rounds: soup {ours:.2f} s (best {min(i['soup'] for i in items):.2f}), "
        f"MPI_Allreduce of its int64 sums {sums:.2f} s, of the weights as floats {floats:.2f} s: "
        f"soup / int64 = {ours / sums:.2f}, soup / float = {ours / floats:.2f}; "
        f"working memory {max(i['working_mib'] for i in items)} MiB"
    )
for label, items in train.items():
    rates = [item["images_per_second"] for item in items]
    print(f"{label}: min {min(rates):.1f}, median {statistics.median(rates):.1f} images/s over {len(rates)} rounds")
rate = {label: median(items, "images_per_second") for label, items in train.items()}
if "one-rank" in rate:
    print(f"group of two / one rank = {rate['group-of-two'] / rate['one-rank']:.2f}")
    print(f"two groups / one rank = {rate['two-groups'] / rate['one-rank']:.2f}")
if "checkpoints" in rate:
    items = train["checkpoints"]
    count = items[0]["checkpoints"]
    images = 4800
    lost = [images / c["images_per_second"] - images / n["images_per_second"] for c, n in zip(items, train["no-checkpoints"])]
    each = statistics.median(lost) / count
    waited = median(items, "waited_seconds") / count
    interval = 50000 / rate["no-checkpoints"]
    print(
        f"a checkpoint of {items[0]['checkpoint_mib']:.1f} MiB is written in {median(items, 'written_seconds') / count * 1000:.0f} ms beside training, which "
        f"waits {waited * 1000:.1f} ms for it and is {each * 1000:.0f} ms later in all (median of {len(lost)} pairs): at the default of one in 50,000 images, "
        f"{interval:.0f} s, {100 * max(each, waited) / interval:.3f} % of the time"
    )
