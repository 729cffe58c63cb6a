"Promises of petcam.perturbation and of the curves in petcam.engine.scoring: slow loops, golden numbers of the authors' own code."
import numpy as np
import pytest, torch
from petcam.engine.scoring import deletion, insertion

class Weighs(torch.nn.Module): # the logit of class 1 is a weighted sum of the pixels, that of class 0 is 0
    def __init__(self, w):
        super().__init__()
        self.w, self.seen = torch.nn.Parameter(w), []
    def forward(self, x):
        self.seen.append(len(x))
        s = (x*self.w).sum((1, 2, 3))
        return torch.stack([0*s, s], 1)

def slow_curve(w, start, end, m, steps): # one image, one map: pixel after pixel from `start` to `end`
    order = sorted(range(m.numel()), key=lambda i: -m.flatten()[i])
    out = []
    for s in range(steps + 1):
        now = start.clone()
        for i in [i for place, i in enumerate(order) if place < m.numel()*s/steps]:
            now[:, i//m.shape[1], i % m.shape[1]] = end[:, i//m.shape[1], i % m.shape[1]]
        out.append(float((now*w).sum().sigmoid()))
    return out

@pytest.mark.parametrize('steps', [1, 5, 12])
@pytest.mark.parametrize('bs', [1, 2, 5, 64])
def test_several_maps_at_once_are_each_alone_with_fewer_images_asked(steps, bs):
    g = torch.Generator().manual_seed(steps)
    x, w, maps = torch.randn(2, 3, 4, 3, generator=g), torch.randn(3, 4, 3, generator=g), torch.randn(4, 2, 4, 3, generator=g)
    model = Weighs(w)
    going = deletion(model, x, maps, 1, steps, bs=bs)
    assert sum(model.seen) == 2*(2 + 4*(steps - 1)) and max(model.seen) <= max(bs, 2) # the ends are asked once
    want = [[slow_curve(w, x[i], torch.zeros(3, 4, 3), m[i], steps) for i in range(2)] for m in maps]
    torch.testing.assert_close(going, torch.tensor(want), atol=1e-5, rtol=0)
    coming = insertion(model, x, maps, 1, steps, bs=bs)
    for k, m in enumerate(maps):
        torch.testing.assert_close(coming[k], insertion(model, x, m, 1, steps), atol=1e-6, rtol=0)
    torch.testing.assert_close(coming[..., -1], going[..., 0])

def test_other_inputs_are_repeated_with_their_images():
    class Shifted(torch.nn.Module): # each image has a number of its own, and a table that is none of theirs
        def forward(self, x, shift, table):
            assert table.shape == (7, 2) and len(x) == len(shift)
            return torch.stack([0*shift, x.sum((1, 2, 3)) + shift], 1)
    x, shift, table = torch.randn(3, 1, 2, 2), torch.tensor([1., -2., .5]), torch.zeros(7, 2)
    maps = torch.randn(2, 3, 2, 2)
    got = deletion(Shifted(), (x, shift, table), maps, 1, 4, bs=100)
    for m, curves in zip(maps, got):
        for i in range(3):
            torch.testing.assert_close(curves[i:i+1], deletion(Shifted(), (x[i:i+1], shift[i:i+1], table), m[i:i+1], 1, 4))

def test_maps_of_other_images_are_refused():
    model, x = Weighs(torch.ones(1, 4, 4)), torch.randn(2, 1, 4, 4)
    for shape in ((3, 4, 4), (2, 3, 4, 4), (0, 2, 4, 4)):
        with pytest.raises(ValueError, match=r'expected 2 maps \(b,h,w\)'): deletion(model, x, torch.zeros(shape))
    with pytest.raises(ValueError, match='bs must be 1 or more, got 0'): insertion(model, x, torch.zeros(2, 4, 4), bs=0)
