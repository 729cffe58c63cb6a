"Promises of engine.forms and engine.layers: what is offered is a map, in the right form, and the model stays as it was."
import pickle
import pytest, torch
from torch import nn
from torchvision.models import VisionTransformer, resnet34
from petcam.engine.adapter import Adapter
from petcam.engine.forms import forms_of, map_tensor, with_tensor
from petcam.engine.layers import find_layer, last_layers, layers_of, name_of, stage_ends


def hooks(model): return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())

def shaped(*shape): return torch.zeros(shape) # an output, of which only the shape counts

def reasons(model, shapes, x): return forms_of(model, {name: shaped(*s) for name, s in shapes.items()}, x)[1]

def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Dropout(.5), nn.Linear(4, 5)).eval()

@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)

@pytest.fixture
def x(): return torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))

def test_find_layer_by_module_or_name_and_its_errors():
    m = resnet34()
    assert find_layer(m, 'layer4.2') is m.layer4[2] is find_layer(m, m.layer4[2])
    with pytest.raises(ValueError, match="no layer 'layer5'.*layer4"): find_layer(m, 'layer5')
    with pytest.raises(ValueError, match='conv1, bn1'): find_layer(m, 'zzz')
    with pytest.raises(TypeError, match='int 4'): find_layer(m, 4)
    with pytest.raises(ValueError, match='the nearest names are module.layer4$'): find_layer(nn.DataParallel(m), 'layer4')

def test_a_part_from_torch_jit_is_passed_over_and_refused_by_name():
    m = tiny()
    m[1] = torch.jit.script(nn.Sequential(nn.BatchNorm2d(4))).eval()
    assert list(layers_of(m, torch.randn(1, 3, 9, 11))) == ['0', '2'] and hooks(m) == 0
    for layer in '1', '1.0', m[1]:
        with pytest.raises(ValueError, match='ScriptModule, which takes no hooks'): find_layer(m, layer)

def test_a_model_from_torch_compile_is_refused_with_what_to_give_instead():
    m, inside, x = torch.compile(tiny()), tiny(), torch.randn(1, 3, 9, 11)
    inside.compile()
    for call in (lambda: layers_of(m, x), lambda: find_layer(m, '_orig_mod.1'), lambda: find_layer(inside, '1')):
        with pytest.raises(ValueError, match='model._orig_mod has the same weights'): call()
    assert list(layers_of(m._orig_mod, x)) == ['0', '1', '2']
    with pytest.raises(ValueError, match='the model is a TopLevelTracedModule, which takes no hooks'): layers_of(torch.jit.trace(tiny(), x), x)
    with pytest.raises(TypeError, match='model must be an nn.Module, got Tensor; the order is model, layer, x'): find_layer(x, '1')

@pytest.mark.parametrize('x', [None, torch.zeros(3, 9, 9), torch.zeros(1, 3, 9, 9, dtype=torch.uint8)])
def test_layers_of_needs_a_batch(x):
    with pytest.raises(ValueError, match='x must be a float batch'): layers_of(tiny(), x)

class ChannelsLast(nn.Module):
    def forward(self, x): return x.permute(0, 2, 3, 1)

class OneSize(nn.Module):
    def forward(self, x): assert x.shape[-2:] == (64, 64); return x

@pytest.mark.parametrize('stride', [(1, 4), (4, 1), (1, 2), (2, 8)])
def test_a_network_that_halves_one_side_more_often_has_maps_all_the_same(stride):
    m, x = nn.Sequential(nn.Conv2d(3, 24, stride, stride), ChannelsLast()), torch.randn(2, 3, 64, 64)
    assert layers_of(m, x) == {name: (24, 64//stride[0], 64//stride[1]) for name in '01'}
    assert [o.form for o in layers_of(m, x).values()] == ['channels first', 'channels last']

def test_a_network_that_takes_one_size_only_can_be_asked_too():
    m, x = nn.Sequential(OneSize(), nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 12, (1, 4), (1, 4)), ChannelsLast()), torch.randn(1, 3, 64, 64)
    assert layers_of(m, x) == {'0': (3, 64, 64), '1': (8, 32, 32), '2': (12, 32, 8), '3': (12, 32, 8)}

@pytest.mark.parametrize('stride', [(1, 2), (2, 1), (1, 4)])
def test_a_head_that_takes_one_size_does_not_hide_the_layers_before_it(stride):
    m = nn.Sequential(nn.Conv2d(3, 24, stride, stride), nn.Conv2d(24, 16, stride, stride), nn.Flatten())
    x = torch.randn(1, 3, 64, 64)
    assert list(layers_of(m.append(nn.Linear(m(x).shape[1], 3)), x)) == ['0', '1'] and hooks(m) == 0

@pytest.mark.parametrize('channels', [6, 8, 10, 15, 16, 24])
def test_however_few_channels_come_last(channels):
    m = nn.Sequential(nn.Conv2d(3, channels, 8, 8), ChannelsLast(), nn.ReLU())
    got = layers_of(m, torch.randn(1, 3, 64, 64))
    assert got == {name: (channels, 8, 8) for name in '012'} and [o.form for o in got.values()] == ['channels first'] + 2*['channels last']

@pytest.mark.parametrize('size', [(64, 64), (96, 64)])
def test_a_table_of_attention_is_no_map(size):
    class Attention(nn.Module):
        def __init__(self): super().__init__(); self.patches, self.softmax = nn.Conv2d(3, 32, 8, 8), nn.Softmax(-1)
        def forward(self, x):
            tokens = self.patches(x).flatten(2).mT.unflatten(2, (4, 8)).transpose(1, 2)         # (b,heads,places,8)
            return self.softmax(tokens @ tokens.mT) @ tokens
    assert list(layers_of(Attention(), torch.randn(2, 3, *size))) == ['patches']

@pytest.mark.parametrize('size', [(7, 7), (None, 1), (1, None), (3, 7)])
def test_behind_a_pooling_to_a_fixed_size(size):
    m = nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(size), ChannelsLast())
    got = layers_of(m, torch.randn(2, 3, 64, 64))
    assert list(got) == ['0', '1', '2'] and got['1'] == got['2'] == (16, *(62 if side is None else side for side in size))

def test_the_probe_is_run_once_for_all_layers_and_only_in_doubt():
    m, x, seen = nn.Sequential(nn.Conv2d(3, 96, 3, 2), nn.Conv2d(96, 16, 2, 2), ChannelsLast()), torch.randn(2, 3, 64, 64), []
    m.register_forward_pre_hook(lambda m, inp: seen.append(tuple(inp[0].shape)))
    outputs = {'0': shaped(2, 96, 31, 31), '1': shaped(2, 16, 15, 15), '2': shaped(2, 15, 15, 16)}
    forms, none = forms_of(m, outputs, x)
    assert {k: f.name for k, f in forms.items()} == {'0': 'channels first', '1': 'channels first', '2': 'channels last'}
    assert not none and seen == [(3, 3, 64, 64)]
    assert not reasons(m, {'0': (2, 96, 31, 31)}, x) and len(seen) == 1          # clear: nothing is run
    assert reasons(m.append(nn.Flatten()), {'3': (2, 3600)}, x) == {
        '3': 'gives (2, 3600) for images (2, 3, 64, 64), and a map needs (b,c,h,w): channels second, and the rows and columns of the '
             'image; reshape= can lay it out'}

class Bias(nn.Module): # a table of position biases, with and without a dimension for the images
    def __init__(self, images): super().__init__(); self.images, self.table = images, nn.Identity()
    def forward(self, x): return x + self.table(torch.ones(len(x) if self.images else 1, 4, 16, 16)).mean()

@pytest.mark.parametrize('images', [True, False])
def test_what_does_not_depend_on_the_image_is_told_so(images):
    m, x = Bias(images), torch.randn(1, 3, 64, 64)
    assert 'table' not in layers_of(m, x)
    assert reasons(m, {'table': (1, 4, 16, 16)}, x) == {'table': 'does not depend on the image'}

def test_the_probe_leaves_the_images_the_model_and_the_random_state():
    m, x = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), ChannelsLast()).train(), torch.rand(2, 3, 64, 64)
    before, x0, state = {k: v.clone() for k, v in m.state_dict().items()}, x.clone(), torch.get_rng_state()
    first = layers_of(m, x)
    assert list(first) == ['0', '1', '2'] and first == layers_of(m, x) == layers_of(m, x*0) == layers_of(m, x[:0]) == layers_of(m.double(), x.double())
    assert torch.equal(x, x0) and torch.equal(torch.get_rng_state(), state) and m.training and hooks(m) == 0
    assert all(torch.equal(v, before[k].to(v)) for k, v in m.state_dict().items())

def test_no_layer_named_is_the_last_usable_one():
    m, x, seen = resnet34(), torch.randn(1, 3, 64, 64), []
    m.register_forward_pre_hook(lambda m, inp: seen.append(len(inp[0])))
    assert find_layer(m, None, x) is m.layer4 and seen == [1]          # its shape is clear: no probe
    last = nn.Sequential(nn.Conv2d(3, 16, 4, 4), ChannelsLast())
    assert name_of(last, find_layer(last, None, x)) == '1'
    with pytest.raises(TypeError, match='needs x'): find_layer(m, None)
    with pytest.raises(ValueError, match='nothing to make a map of'): find_layer(nn.Flatten(), None, x)

def test_layers_of_equals_a_slow_loop_and_leaves_no_trace(x):
    m = tiny().train()
    stats, state = m[1].running_mean.clone(), torch.get_rng_state()
    got = layers_of(m, x)
    want, a = {}, x
    for n, layer in tiny().named_children():
        a = layer(a)
        if a.dim() == 4 and a.shape[2] > 1: want[n] = tuple(a.shape[1:])
    assert got == want and list(got) == ['0', '1', '2']
    assert m.training and torch.equal(m[1].running_mean, stats) and torch.equal(torch.get_rng_state(), state)
    assert hooks(m) == 0

def test_layers_of_resnet34_in_order_and_without_what_runs_twice():
    m = resnet34()
    got = layers_of(m, torch.zeros(1, 3, 352, 352))
    assert got['layer4'] == (512, 11, 11) and list(got)[:2] == ['conv1', 'bn1']
    assert list(got)[-3:] == ['layer4.2.bn2', 'layer4.2', 'layer4']
    assert 'layer1.0.relu' not in got and 'avgpool' not in got and 'fc' not in got

def laid_out(o, prefix, rows, cols): # (b,n,c) -> (b,c,rows,cols), one number at a time
    got = torch.zeros(len(o), o.shape[2], rows, cols)
    for row in range(rows):
        for col in range(cols): got[:, :, row, col] = o[:, prefix + row*cols + col]
    return got

class Tokens(nn.Module):
    "A small transformer: patches, `prefix` tokens before them, two blocks, and a head that looks at the first token or at their mean"
    def __init__(self, prefix, first=True, sequence_first=False):
        super().__init__()
        self.patch, self.others = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, prefix, 16))
        self.blocks = nn.Sequential(*[nn.TransformerEncoderLayer(16, 2, 32, batch_first=not sequence_first) for _ in range(2)])
        self.head, self.first, self.turn = nn.Linear(16, 5), first and prefix, sequence_first
    def forward(self, x):
        t = torch.cat([self.others.expand(len(x), -1, -1), self.patch(x).flatten(2).mT], 1)
        t = self.blocks(t.transpose(0, 1)).transpose(0, 1) if self.turn else self.blocks(t)
        return self.head(t[:, 0] if self.first else t.mean(1))

def outputs(model, names, x): # as they are, from hooks of our own
    kept, handles = {}, []
    for name in names:
        handles.append(model.get_submodule(name).register_forward_hook(lambda m, i, out, name=name: kept.update({name: out})))
    model(x)
    for handle in handles: handle.remove()
    return kept

@pytest.mark.parametrize('prefix', [0, 1, 2, 5, 11])
@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
@pytest.mark.parametrize('turned', [False, True])
def test_tokens_behind_any_number_of_others_are_laid_out_as_by_a_slow_loop(prefix, size, turned):
    m, x = Tokens(prefix, sequence_first=turned).eval(), torch.randn(2, 3, *size)
    rows, cols = size[0]//8, size[1]//8
    got = layers_of(m, x)
    assert got['blocks.0'] == (16, rows, cols) and got['blocks.0'].form == 'tokens'
    raw = outputs(m, ['blocks.0'], x)
    for adapter in Adapter(), Adapter(reshape='tokens'):
        forms, none = forms_of(m, raw, x, adapter)
        o = raw['blocks.0'].transpose(0, 1) if turned else raw['blocks.0']
        assert not none and torch.equal(forms['blocks.0'](raw['blocks.0']), laid_out(o, prefix, rows, cols))

def test_of_tokens_without_a_convolution_the_proportions_tell_the_grid():
    class Linear(nn.Module): # patches cut by hand
        def __init__(self): super().__init__(); self.patch, self.head = nn.Linear(192, 24), nn.Linear(24, 5)
        def forward(self, x): return self.head(self.patch(x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)).mean(1))
    for size, grid in ((64, 64), (8, 8)), ((48, 96), (6, 12)):
        assert layers_of(Linear(), torch.randn(1, 3, *size)) == {'patch': (24, *grid)}

def test_behind_the_last_block_only_the_class_token_counts_and_the_one_before_is_offered():
    m, x = Tokens(1).eval(), torch.randn(1, 3, 32, 32)
    got = layers_of(m, x)
    assert 'only other parts of its output are used' in got['blocks.1'].note and not got['blocks.0'].note
    assert name_of(m, find_layer(m, None, x)) == 'blocks.0' == stage_ends(got)[-1] == last_layers(m, x)[0]
    kept = []                                                  # the oracle: one whole backward pass
    for block in m.blocks: block.register_forward_hook(lambda mod, i, out: (out.retain_grad(), kept.append(out)) and None)
    m(x.clone().requires_grad_())[0, 2].backward()
    assert kept[0].grad[:, 1:].abs().min() > 0 and not kept[1].grad[:, 1:].any()

def test_where_the_mean_of_the_tokens_counts_the_last_block_is_offered():
    m, x = Tokens(1, first=False).eval(), torch.randn(1, 3, 32, 32)
    assert not any(o.note for o in layers_of(m, x).values())
    assert name_of(m, find_layer(m, None, x)) == 'blocks'

def test_a_vit_of_one_block_has_its_patches_left():
    m = VisionTransformer(32, 8, 1, 2, 24, 48, num_classes=5).eval()
    nn.init.normal_(m.heads.head.weight)
    x = torch.randn(1, 3, 32, 32)
    assert name_of(m, find_layer(m, None, x)) == 'encoder.dropout'
    frozen = m.requires_grad_(False)
    assert name_of(frozen, find_layer(frozen, None, x)) == 'encoder.dropout' and hooks(m) == 0

@pytest.mark.parametrize('wrong', [lambda o: o.mT, lambda o: o.flip(2), lambda o: o.flip(3), lambda o: o.rot90(1, (2, 3)), lambda o: o.flip(2, 3),
                                   lambda o: o.flatten(2)[:, :, torch.randperm(64, generator=torch.Generator().manual_seed(0))].unflatten(2, (8, 8))])
@pytest.mark.parametrize('channels', [24, 96])
def test_what_is_turned_or_shuffled_is_no_map_although_its_shape_is_right(wrong, channels):
    class Wrong(nn.Module):
        def forward(self, x): return wrong(x)
    assert list(layers_of(nn.Sequential(nn.Conv2d(3, channels, 8, 8), Wrong()), torch.randn(1, 3, 64, 64))) == ['0']

@pytest.mark.parametrize('heads', [1, 4, 48])
@pytest.mark.parametrize('size', [(32, 32), (64, 64)])
def test_tables_of_tokens_and_of_channels_are_no_maps(heads, size):
    class Tables(nn.Module):
        def __init__(self): super().__init__(); self.patch, self.tokens, self.channels = nn.Conv2d(3, 16*heads, 8, 8), nn.Softmax(-1), nn.Softmax(-1)
        def forward(self, x):
            t = self.patch(x).flatten(2).unflatten(1, (heads, 16))           # (b,heads,16,n)
            return self.tokens(t.mT @ t).mean() + self.channels(t @ t.mT).mean()
    for seed in range(5):
        torch.manual_seed(seed)
        assert list(layers_of(Tables(), torch.randn(2, 3, *size))) == ['patch']

def test_a_constant_map_of_a_clear_shape_is_not_offered():
    class Position(nn.Module):
        def __init__(self): super().__init__(); self.table = nn.Parameter(torch.randn(1, 96, 16, 16))
        def forward(self, b): return self.table.expand(b, -1, -1, -1)
    class Net(nn.Module):
        def __init__(self): super().__init__(); self.conv, self.position = nn.Conv2d(3, 96, 4, 4), Position()
        def forward(self, x): return (self.conv(x) + self.position(len(x))).mean((2, 3))
    assert list(layers_of(Net(), torch.randn(1, 3, 64, 64))) == ['conv']

@pytest.mark.parametrize('dims, shape', [(1, (2, 64)), (3, (1, 12, 16, 20)), (3, (3, 8, 32, 32))])
def test_signals_and_volumes(dims, shape):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    class Last(nn.Module):
        def forward(self, x): return x.movedim(1, -1)
    m, x = nn.Sequential(conv(shape[0], 8, 3, padding=1), nn.ReLU(), conv(8, 12, 2, 2), Last()), torch.randn(2, *shape)
    half = tuple(side//2 for side in shape[1:])
    got = layers_of(m, x)
    assert got == {'0': (8, *shape[1:]), '1': (8, *shape[1:]), '2': (12, *half), '3': (12, *half)}
    assert [o.form for o in got.values()] == 3*['channels first'] + ['channels last']
    raw = outputs(m, '23', x)
    forms, none = forms_of(m, raw, x)
    assert not none and all(torch.equal(forms[name](raw[name]), raw['2']) for name in '23')

class Recurrent(nn.Module): # one block, three times
    def __init__(self): super().__init__(); self.stem, self.block, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)
    def forward(self, x):
        x = self.stem(x)
        for _ in range(3): x = self.block(x).relu()
        return self.head(x.mean((2, 3)))

def test_a_layer_that_runs_several_times_is_listed_with_call_and_the_list_says_so():
    m, x = Recurrent(), torch.randn(1, 3, 32, 32)
    assert list(layers_of(m, x)) == ['stem']
    for call in range(3): assert repr(layers_of(m, x, call=call)['block']) == f'(8, 8, 8) (runs 3 times; this is call {call})'
    assert 'block' not in layers_of(m, x, call=3)

class Pair(nn.Module): # two images, one body; and a mask, which is no image
    def __init__(self): super().__init__(); self.body = nn.Conv2d(3, 8, 4, 4)
    def forward(self, a, b, mask=None): return dict(logits=(self.body(a) - self.body(b)).mean((2, 3)), maps=[self.body.weight])

def test_two_inputs_as_a_tuple_or_by_name():
    m, x = Pair(), (torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32), torch.ones(2, 7))
    for given in x, dict(zip(('a', 'b', 'mask'), x)):
        for call in 0, 1: assert layers_of(m, given, call=call)['body'] == (8, 8, 8)
    assert layers_of(m, x[0], inputs=lambda x: (x, x.flip(3)), call=0)['body'] == (8, 8, 8)

def test_of_a_tuple_the_first_that_can_be_a_map():
    class Both(nn.Module):
        def forward(self, x): return None, torch.ones(len(x)), (x, x.mean((2, 3)))
    class Unpack(nn.Module):
        def forward(self, o): return o[2][0].mean((2, 3))
    m, x = nn.Sequential(nn.Conv2d(3, 16, 4, 4), Both(), Unpack()), torch.randn(2, 3, 32, 32)
    assert layers_of(m, x) == {'0': (16, 8, 8), '1': (16, 8, 8)}
    out = m[1](m[0](x))
    assert map_tensor(out) is out[2][0] and map_tensor((1, None)) is None and map_tensor(torch.ones(2, 3, 4, dtype=torch.long)) is None
    new = with_tensor(out, torch.zeros(1, 2, 3))
    assert new[2][0].shape == (1, 2, 3) and new[0] is None and new[1] is out[1] and new[2][1] is out[2][1]

def test_reshape_by_a_function_and_by_name():
    m, x = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(2)), torch.randn(2, 3, 32, 32)          # (b,c,16)
    assert list(layers_of(m, x)) == ['0']
    def own(o): return o.unflatten(2, (4, 4))
    got = layers_of(m, x, reshape=own)
    assert got == {'1': (16, 4, 4)} and got['1'].form == 'reshape'
    raw = outputs(m, '1', x)
    assert torch.equal(forms_of(m, raw, x, Adapter(reshape=own))[0]['1'](raw['1']), own(raw['1']))
    assert 'reshape=' in forms_of(m, raw, x)[1]['1']

def test_a_shape_of_the_list_is_a_tuple_and_keeps_what_it_says():
    shape = layers_of(Recurrent(), torch.randn(1, 3, 32, 32), call=1)['block']
    again = pickle.loads(pickle.dumps(shape))
    assert again == shape == (8, 8, 8) and again.note == shape.note and again.form == shape.form and isinstance(shape, tuple)

@pytest.mark.parametrize('heads, n', [(3, 65), (3, 64), (6, 66)])
def test_queries_of_attention_are_no_map_although_they_are_nearly_square(heads, n):
    class Queries(nn.Module): # (b,heads,n,64)
        def __init__(self): super().__init__(); self.patch, self.queries = nn.Conv2d(3, 64*heads, 8, 8), nn.Identity()
        def forward(self, x):
            t = self.patch(x).flatten(2).mT
            t = torch.cat([t[:, :n - 64], t], 1).unflatten(2, (heads, 64)).transpose(1, 2)
            return self.queries(t).mean((1, 2))
    for seed in range(10):
        torch.manual_seed(seed)
        assert list(layers_of(Queries(), torch.randn(1, 3, 64, 64))) == ['patch']
