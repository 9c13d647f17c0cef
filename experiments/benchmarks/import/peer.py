"""What people write in Python: WebDataset tars, Pillow in a pool of processes, HDF5 with h5py.

Usage: peer.py OUTPUT RESOLUTION PROCESSES TAR... Scales the smaller side to RESOLUTION (Lanczos, JPEG's own reduction
first), cuts the middle, and stores pixels, captions and their SHA-256. The work of `soup import webdataset` but resuming,
checks, difference hashes and limits of time and memory.
"""

import hashlib
import io
import multiprocessing
import sys

import h5py
import numpy
import webdataset
from PIL import Image, ImageOps

output, resolution, processes, tars = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]


def decode(sample):
    image = Image.open(io.BytesIO(sample["jpg"]))
    image.draft("RGB", (2 * resolution, 2 * resolution))
    image = ImageOps.exif_transpose(image).convert("RGB")
    image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS)
    pixels = numpy.asarray(image)
    return pixels, sample["txt"].decode(), hashlib.sha256(pixels.tobytes()).digest()


if __name__ == "__main__":
    with multiprocessing.Pool(processes) as pool, h5py.File(output, "w") as file:
        images = file.create_dataset("images", (0, resolution, resolution, 3), "u1", maxshape=(None, resolution, resolution, 3),
                                     chunks=(1, resolution, resolution, 3))
        captions = file.create_dataset("captions", (0,), h5py.string_dtype(), maxshape=(None,))
        digests = file.create_dataset("digests", (0, 32), "u1", maxshape=(None, 32))
        samples = webdataset.WebDataset(tars, shardshuffle=False)
        for i, (pixels, caption, digest) in enumerate(pool.imap(decode, samples, chunksize=8)):
            for dataset in (images, captions, digests):
                dataset.resize(i + 1, axis=0)
            images[i] = pixels
            captions[i] = caption
            digests[i] = numpy.frombuffer(digest, numpy.uint8)
