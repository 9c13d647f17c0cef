"""many_shards.py YAML COUNT: the experiment with COUNT shards of unequal size, each for a group of four ranks, on standard output."""

import random
import re
import sys

text, count = open(sys.argv[1]).read(), int(sys.argv[2])
random.seed(1)
head, rest = text.split("  shards:\n", 1)
rest = rest[rest.index("\nbase:") :]
shards = ""
for i in range(count):
    # A long tail, as data has: 0.4 to 6 million images.
    images = 32 * int(12_500 * min(15.0, random.paretovariate(1.2)))
    shards += f"    - {{name: shard{i:03d}, images: {images}, ranks: 4, icon_theme: {{package: oxygen-icon-theme, theme: oxygen}}}}\n"
rest = re.sub(r"checkpoint_images: \d+", "checkpoint_images: 50000", rest)
print(head + "  shards:\n" + shards + rest, end="")
