"""Makes N JPEGs with captions as WebDataset tars (1,000 samples each) and as a folder with metadata.jsonl.

Usage: make_inputs.py FOLDER N SIDE. 200 different pictures of SIDE x 3/4 SIDE pixels take turns under N names; files of
the folder are links to them.
"""

import io
import json
import os
import pathlib
import sys
import tarfile

import numpy
from PIL import Image

folder, count, side = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = numpy.random.default_rng(1)


def picture():
    """Smooth colours with some noise, which JPEG makes about as long as a photograph."""
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=numpy.uint8))
    smooth = numpy.asarray(coarse.resize((side, side * 3 // 4), Image.Resampling.BICUBIC), dtype=numpy.int16)
    noisy = smooth + random.normal(0.0, 6.0, smooth.shape)
    out = io.BytesIO()
    Image.fromarray(numpy.clip(noisy, 0, 255).astype(numpy.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


pictures = [picture() for _ in range(min(count, 200))]
(folder / "tars").mkdir(parents=True)
(folder / "photos").mkdir()
for i, content in enumerate(pictures):
    (folder / f"{i}.jpg").write_bytes(content)


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


with open(folder / "photos" / "metadata.jsonl", "w") as metadata:
    for first in range(0, count, 1000):
        below = folder / "photos" / f"{first // 1000:05}"
        below.mkdir()
        with tarfile.open(folder / "tars" / f"{first // 1000:05}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i in range(first, min(first + 1000, count)):
                caption = f"picture number {i} of a benchmark, in many colours"
                add(tar, f"{i:09}.jpg", pictures[i % len(pictures)])
                add(tar, f"{i:09}.txt", caption.encode())
                add(tar, f"{i:09}.json", json.dumps({"caption": caption, "key": f"{i:09}", "status": "success"}).encode())
                os.link(folder / f"{i % len(pictures)}.jpg", below / f"{i:09}.jpg")
                metadata.write(json.dumps({"file_name": f"{below.name}/{i:09}.jpg", "text": caption}) + "\n")
print(sum(len(content) for content in pictures) // len(pictures))
