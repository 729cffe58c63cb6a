"""How many images a second the loader delivers when no network waits for them.

    python benchmarks/loading.py --data PETS [--sizes 224,352] [--bs 16] [--rounds 5]

The median of whole epochs of the training images, decoded, changed and normalised, with the spread from the slowest to the fastest. The
first epoch, in which the workers start, is not counted.
"""
import argparse, os, statistics, time
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

def epoch(dl):
    start = time.perf_counter()
    images = sum(len(yb) for _, yb in dl)
    return images/(time.perf_counter()-start)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data'); p.add_argument('--sizes', default='224,352'); p.add_argument('--bs', type=int, default=16); p.add_argument('--rounds', type=int, default=5)
    a = p.parse_args()
    from petcam.data import find_pets, get_data
    pets = find_pets(a.data)
    print('\n| | images/s |\n| --- | ---: |')
    for size in map(int, a.sizes.split(',')):
        data = get_data(size, a.bs, path=pets)
        _, *rates = [epoch(data.train_dl) for _ in range(a.rounds + 1)]
        print(f'| {size} px, {data.workers} workers | {statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f}) |', flush=True)
