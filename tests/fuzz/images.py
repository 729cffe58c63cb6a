"""Damaged images of every format that Pillow can write: each is read, or is one line that names it.

    python -m tests.fuzz.images --n 3000 --seed 0
"""
import argparse
import io
import resource
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
import numpy as np
import torch
from PIL import Image, ImageCms
from petcam.files.images import BadImage, as_tensor, load_image, load_mask, pil_image, why_broken

MODES = '1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'PA', 'CMYK', 'YCbCr', 'LAB', 'I', 'F', 'I;16'

def written(image, format, **options):
    "The bytes of a file; None if Pillow writes no such file"
    out = io.BytesIO()
    try:
        image.save(out, format, **options)
    except Exception: # no such mode in this format, or no encoder
        return None
    return out.getvalue()

def corpus(random):
    "(name, bytes) of whole files: all formats and modes, with EXIF, profiles, several frames"
    Image.init()
    pixels = random.integers(0, 256, (24, 40, 4)).astype(np.uint8)
    pixels[:12] = 90 # something to compress
    picture, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    modes = {'F': Image.fromarray(pixels[..., 0].astype(np.float32)/255),
             'I;16': Image.fromarray(pixels[..., 0].astype(np.uint16)*257), 'I': picture.convert('L').convert('I')}
    for mode in MODES:
        try:
            modes.setdefault(mode, picture.convert('RGB').convert(mode))
        except ValueError: # LA and PA, not from RGB
            modes.setdefault(mode, picture.convert('LA').convert(mode))
    files = []
    for format in sorted(Image.SAVE):
        for mode, image in modes.items():
            several = dict(save_all=True, append_images=[image.transpose(Image.Transpose.ROTATE_180)])
            kinds = dict(plain={}, extras=dict(exif=exif, icc_profile=profile), several=several,
                         packed=dict(progressive=True, compression='tiff_deflate', compress_level=9, lossless=True))
            files += [(f'{format} {mode} {kind}', content) for kind, options in kinds.items()
                      if (content := written(image, format, **options))]
    return list({content: (name, content) for name, content in reversed(files)}.values())

def damaged(content, random):
    "The bytes with one to three kinds of damage"
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        n = len(data)
        if not n: break
        at, length = random.integers(n), int(random.integers(1, 1 + min(n, 64)))
        head = random.integers(min(n, 64)) # where sizes and kinds are told
        match random.integers(8):
            case 0: data[at] ^= 1 << random.integers(8)
            case 1: data[head] = random.integers(256)
            case 2: data[head:head + 4] = random.integers(0, 256, 4).astype(np.uint8).tobytes()
            case 3: del data[at:]
            case 4: del data[at:at + length]
            case 5: data[at:at + length] = bytes([random.choice([0, 255])])*length
            case 6: data[at:at] = data[head:head + length]
            case 7: data[at:at + length] = random.integers(0, 256, length).astype(np.uint8).tobytes()
    return bytes(data)

def is_odd(x):
    "Is this no image from 0 to 1?"
    return x.dim() != 3 or x.shape[0] != 3 or x.dtype != torch.float32 or not (x.min() >= 0 and x.max() <= 1)

def outcome(path):
    "What becomes of one file: 'read', 'refused', or a kind of fault"
    try:
        x = load_image(path)
    except BadImage as e:
        if path.name not in str(e) or not str(e).isprintable(): return 'odd: the message does not name the file'
        if not why_broken(path): return 'odd: broken, and found while training only'
        return 'refused'
    if is_odd(x): return f'odd: {tuple(x.shape)} {x.dtype} from {x.min()} to {x.max()}'
    if is_odd(load_image(path, 8)): return 'odd when read small'
    if (as_tensor(pil_image(path)) - x).abs().max() > .6/255: return 'odd: another image for Pillow'
    if load_mask(path).ndim != 2: return 'odd mask'
    return 'read'

def trial(n, seed):
    "Counts of outcomes, the names of the faults, seconds of the slowest image, MB that were needed"
    random, counts, faults, slowest = np.random.default_rng(seed), Counter(), [], 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore') # Pillow warns of much that it can read
        files = corpus(random)
        for k in range(n):
            name, content = files[random.integers(len(files))]
            path = Path(folder)/f'pug_{k}.jpg'
            path.write_bytes(damaged(content, random) if k % 10 else content)
            start = time.perf_counter()
            try:
                result = outcome(path)
            except Exception as e:
                result = f'raw: {type(e).__name__}: {e}'
            slowest = max(slowest, time.perf_counter() - start)
            counts[result.split(':')[0]] += 1
            if result not in ('read', 'refused'): faults.append((k, name, result))
            path.unlink()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)/1024
    return counts, faults, slowest, grown

def main(n, seed):
    "Print the counts, and every fault"
    counts, faults, slowest, grown = trial(n, seed)
    print(f'{n} images, seed {seed}: {dict(counts)}; slowest {slowest:.2f} s; memory grew by {grown:.0f} MB')
    for fault in faults: print(*fault)
    return counts, faults, slowest, grown

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--n', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    main(**vars(parser.parse_args()))
