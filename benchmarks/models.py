"""Which layers are offered, and are the maps right? On 100 architectures of torchvision, timm and Hugging Face, against slow oracles.

    pip install timm transformers captum
    python benchmarks/models.py [--only swin] [--fast] [--details]

Random weights, made alive where they begin with zeros (layer scale), ten classes. For each layer that runs once, an oracle of its own
replaces each of sixteen patches of the image, one at a time and by two noises, and asks whether a location of the output answers most to its own
patch, along both sides: in the form that petcam gives it, and for a layer that is not offered in every form there is.

offered: layers with a map; wrong: those that answer to other places than their own, or not to the image at all; lost: layers that the
oracle calls maps, and petcam does not offer; global: offered, and the oracle cannot decide (each location answers to the whole image, as
behind uniform attention and in maps of 4 x 4). opens: the layer for `layer=None`. full: the largest difference of `grad_cam` from a slow full backward
pass, at the opening layer and in the middle, as a fraction of the largest value; captum: the same from captum's LayerGradientXActivation
(for HiResCAM, which is the same for every layout). cost: `layers_of`, in forward passes of one image, as measured.

Sixteen patches are coarse: what has been put into the order of windows (Hiera's tokens, MaxViT's grid) passes with the oracle, and counts as lost, rightly
refused.
"""
import argparse, gc, os, statistics, time, warnings
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
import torch
from torch import nn

TORCHVISION = '''resnet18 resnet50 resnext50_32x4d wide_resnet50_2 vgg11 vgg16_bn alexnet densenet121 squeezenet1_0 squeezenet1_1
mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 shufflenet_v2_x0_5 googlenet inception_v3 efficientnet_b0 efficientnet_v2_s
regnet_y_400mf regnet_x_400mf convnext_tiny:224 vit_b_32:224 vit_b_16:224 swin_t swin_v2_t maxvit_t:224'''.split()
TIMM = '''vit_tiny_patch16_224:112:img_size=112 deit_tiny_distilled_patch16_224:112:img_size=112,depth=4 deit3_small_patch16_224:112:img_size=112,depth=4 vit_small_patch16_dinov3:112:img_size=112,depth=4 vit_small_patch14_reg4_dinov2:112:img_size=112,depth=4
eva02_tiny_patch14_224:112:img_size=112,depth=4 beit_base_patch16_224:112:img_size=112,depth=4,embed_dim=192,num_heads=3 beitv2_base_patch16_224:112:img_size=112,depth=4,embed_dim=192,num_heads=3 vit_base_patch32_clip_224:224:depth=4,embed_dim=192,num_heads=3 swin_tiny_patch4_window7_224 swin_small_patch4_window7_224
swin_base_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 xcit_nano_12_p16_224 cait_xxs24_224 convit_tiny visformer_tiny tnt_s_legacy_patch16_224
gcvit_xxtiny edgenext_xx_small levit_128s maxvit_rmlp_nano_rw_256 mvitv2_tiny pvt_v2_b0 twins_svt_small twins_pcpvt_small tiny_vit_5m_224 pit_ti_224
coat_lite_tiny mobilevit_xxs mobilevitv2_050 nest_tiny crossvit_tiny_240 coatnet_nano_rw_224 efficientformer_l1 efficientformerv2_s0 fastvit_t8 hiera_tiny_224
davit_tiny volo_d1_224 poolformer_s12 caformer_s18 mixer_s32_224 gmlp_ti16_224 resmlp_12_224 focalnet_tiny_srf sequencer2d_s efficientvit_b0 efficientvit_m0
convnext_atto convnextv2_atto convmixer_768_32 resnet26d:128 resnetv2_50x1_bit:128 densenet121:128 efficientnet_b0:128 mobilenetv4_conv_small:128
mobilenetv4_hybrid_medium:256 ghostnet_050:128 hrnet_w18_small:128 dla34:128 res2net50_26w_4s:128 resnest14d:128 regnety_002:128 repvgg_a0:128 repvit_m1
dm_nfnet_f0:128 vovnet39a:128 xception41:160 nextvit_small botnet26t_256 halonet26t lambda_resnet26t lamhalobotnet50ts_256 eca_botnext26ts_256 inception_next_atto
starnet_s1 rdnet_tiny mambaout_femto shvit_s1 swiftformer_xs'''.split()
HUGGING_FACE = '''ViT DeiT Beit Dinov2 Dinov2WithRegisters Swin Swinv2 ConvNext ConvNextV2 CLIP Siglip ResNet Segformer PvtV2 MobileViT Levit Data2VecVision'''.split()
_TOKENS = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=96, image_size=64, patch_size=8)
_STAGES = dict(hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
_WINDOWS = dict(image_size=64, patch_size=4, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4)
HF_WORDS = dict(ConvNext=_STAGES, ConvNextV2=_STAGES, ResNet=dict(_STAGES, embedding_size=16), Swin=_WINDOWS, Swinv2=_WINDOWS, Segformer=dict(image_size=128), PvtV2=dict(image_size=64),
                MobileViT=dict(image_size=128), Levit=dict(image_size=112))

def make_alive(model, seed=0): # what begins with zeros, or nearly so, does not respond
    own = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if not p.is_floating_point() or not p.numel(): continue
        small = bool((p == p.flatten()[0]).all()) and abs(float(p.detach().flatten()[0])) < 1e-2
        with torch.no_grad():
            if small and not name.endswith('bias'): p.copy_(.5 + .1*torch.randn(p.shape, generator=own))
            elif not p.any(): p.copy_(.02*torch.randn(p.shape, generator=own))
    return model

def from_hugging_face(kind):
    import transformers as tf
    words = HF_WORDS.get(kind, _TOKENS)
    size = words.get('image_size', 64)
    if kind in ('CLIP', 'Siglip'): words = dict(vision_config=words)
    config = getattr(tf, f'{kind}Config')(**words, num_labels=10)
    model = getattr(tf, f'{kind}ForImageClassification')(config)
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)): # theirs are so small that the response vanishes
            nn.init.kaiming_normal_(m.weight)
    return model, size

def build(source, spec): # -> model, size
    torch.manual_seed(0)
    name, _, size = spec.partition(':')
    if source == 'torchvision':
        import torchvision
        words = dict(init_weights=False) if name in ('googlenet', 'inception_v3') else {}
        model = torchvision.models.get_model(name, num_classes=10, **words)
        size = int(size or 128)
    elif source == 'timm':
        import timm
        size, _, words = size.partition(':')
        words = {k: int(v) for k, v in (o.split('=') for o in words.split(',') if o)}
        model = timm.create_model(name, num_classes=10, **words)
        size = int(size or model.default_cfg['input_size'][-1])
    else:
        model, size = from_hugging_face(name)
    return make_alive(model).eval(), size

# --- the oracle: nothing of petcam in it

def first_tensor(out):
    if isinstance(out, torch.Tensor): return out if out.dim() > 2 else None
    parts = out.values() if hasattr(out, 'values') else out if isinstance(out, (tuple, list)) else ()
    return next((t for o in parts if (t := first_tensor(o)) is not None), None)

def patched(x, seed, k=4): # the image, and k*k more, each with one patch of noise
    images, noise = [x[0]], torch.randn(x[0].shape, generator=torch.Generator().manual_seed(seed))
    for row in range(k):
        for col in range(k):
            image, h, w = x[0].clone(), x.shape[2], x.shape[3]
            rows, cols = slice(row*h//k, (row + 1)*h//k), slice(col*w//k, (col + 1)*w//k)
            image[:, rows, cols] = noise[:, rows, cols]
            images.append(image)
    return torch.stack(images)

def readings(o): # every way to read (b,c,h,w) into it: name -> tensor
    if o.dim() == 4: return {'channels first': o, 'channels last': o.movedim(-1, 1)}
    if o.dim() != 3: return {}
    sides = [s for s in range(2, 65) if 0 <= o.shape[1] - s*s <= 16]
    return {f'tokens {s}': o[:, -s*s:].transpose(1, 2).unflatten(2, (s, s)) for s in sides}

def responses(maps): # (1+16,c,h,w) -> (16,h,w): how much each location answers to each patch
    r = (maps[1:] - maps[:1]).abs().float().sum(1)
    return r/r.sum((1, 2), keepdim=True).clamp(min=1e-30)

def places(r, k=4): # (16,h,w) -> for rows and columns: does a location answer to its own patch? correlation, and sigma among shuffled patches
    h, w = r.shape[1:]
    r = r/r.mean(0).clamp(min=1e-12)
    r = r - r.mean((1, 2), keepdim=True) - r.mean(0) + r.mean()
    found, at = [], (torch.arange(k) + .5)/k
    for side, patch in ((h, at.repeat_interleave(k)), (w, at.repeat(k))):
        if side == 1: continue
        along = r.mean(2 if patch[0] == patch[1] else 1) # (16,side)
        near = -(patch[:, None] - (torch.arange(side) + .5)/side).abs()
        near = near - near.mean(0) - near.mean(1, keepdim=True) + near.mean()
        def corr(order): return float((along*near[order]).sum()/(along.norm()*near.norm()).clamp(min=1e-12))
        own = torch.Generator().manual_seed(0)
        shuffled = [corr(torch.randperm(k*k, generator=own)) for _ in range(60)]
        found.append((corr(torch.arange(k*k)), corr(torch.arange(k*k))/max(statistics.pstdev(shuffled), 1e-9)))
    return found

def is_local(r): # is it a map? True, False, or None: no place at all
    if not r.any(): return False
    found = places(r)
    if not found: return False
    if all(sigma > 3 for _, sigma in found) and min(c for c, _ in found) > .3*max(c for c, _ in found): return True
    low, high = min(sigma for _, sigma in found), max(sigma for _, sigma in found)
    return False if low < -4 or high > 5 and low < 1 else None # one side only is a table; in between nothing is certain

def oracle(model, x): # name -> reading -> True, False or None; of the layers that run once
    total, runs = {}, {}
    def hook(name):
        def hear(m, inp, out):
            runs[name] = runs.get(name, 0) + 1
            o = first_tensor(out)
            if runs[name] > 1 or o is None or len(o) != 17: return
            for reading, maps in readings(o).items():
                r = responses(maps.detach())
                total[name, reading] = total.get((name, reading), 0) + r
        return hear
    for seed in (11, 12):
        runs.clear()
        handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
        with torch.no_grad(): model(patched(x, seed))
        for handle in handles: handle.remove()
    found = {}
    for (name, reading), r in total.items():
        if runs[name] == 1 and r[0].numel() > 1: found.setdefault(name, {})[reading] = is_local(r)
    return found

TABLES = 'attn_drop', 'attn.softmax', 'pos_bias', 'relative_position', 'cpb_mlp', 'talking_head', 'attention_bias', 'pos_embed.token_projection', 'posemb'

# --- grad_cam, slowly

def logits_of(y): return y.logits if hasattr(y, 'logits') else y

def slow(model, layer, x, target, lay): # the whole graph, by hand
    kept = []
    def keep(m, inp, out):
        whole = isinstance(out, torch.Tensor)
        o = out.clone() if whole else first_tensor(out)
        o.retain_grad()
        kept.append(o)
        return o.clone() if whole else out # a later layer may overwrite it
    with model.get_submodule(layer).register_forward_hook(keep): y = logits_of(model(x.clone().requires_grad_()))
    y[0, target].backward()
    a, g = lay(kept[0].detach()), lay(kept[0].grad)
    model.zero_grad()
    return (a*g.mean((2, 3), keepdim=True)).sum(1), (a*g).sum(1)

def error(a, b): return float((a - b).abs().max()/b.abs().max().clamp(min=1e-12))

def by_captum(model, layer, x, target, lay):
    from captum.attr import LayerGradientXActivation
    method = LayerGradientXActivation(lambda x: logits_of(model(x)), model.get_submodule(layer))
    got = method.attribute(x, target)
    return lay(first_tensor(got)).sum(1).detach()

def timed(f, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter(); f(); times.append(time.perf_counter() - start)
    return min(times)

def try_one(source, spec, fast=False, details=False):
    "One row of the table, as a dict"
    from petcam.engine.layers import find_layer, layers_of, name_of
    from petcam.gradcam import grad_cam
    model, size = build(source, spec)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    offered, truth = layers_of(model, x), oracle(model, x)
    def verdict(name): # of an offered layer
        shape, form = offered[name], offered[name].form
        reading = f'tokens {shape[1]}' if form == 'tokens' else form
        if name.endswith(TABLES): return 'wrong'
        return {True: 'right', False: 'wrong', None: 'global'}[truth.get(name, {}).get(reading, False)]
    verdicts = {name: verdict(name) for name in offered}
    lost = [name for name, found in truth.items() if name not in offered and True in found.values()]
    opens = name_of(model, find_layer(model, None, x))
    row = dict(model=spec, size=size, offered=len(offered), wrong=[o for o in offered if verdicts[o] == 'wrong'], lost=lost,
               unclear=sum(v == 'global' for v in verdicts.values()), opens=opens, full=0., captum=0., cost=float('nan'))
    if not fast:
        with torch.no_grad(): forward = timed(lambda: model(x), 5)
        row['cost'] = timed(lambda: layers_of(model, x), 3)/forward
    usable = [o for o in offered if not offered[o].note]
    for layer in dict.fromkeys([opens, usable[len(usable)//2]]):
        c, h, w = offered[layer]
        lay = {'channels first': lambda o: o, 'channels last': lambda o: o.movedim(-1, 1),
               'tokens': lambda o: o[:, -h*w:].transpose(1, 2).unflatten(2, (h, w))}[offered[layer].form]
        plain, product = slow(model, layer, x, 3, lay)
        row['full'] = max(row['full'], error(grad_cam(model, layer, x, 3), plain))
        if not fast: row['captum'] = max(row['captum'], error(grad_cam(model, layer, x, 3, method='HiResCAM'), by_captum(model, layer, x, 3, lay)))
    if details:
        for name in row['wrong'] + lost: print('   ', 'wrong' if name in row['wrong'] else 'lost', name, offered.get(name), truth.get(name), flush=True)
    return row

def told(row):
    return (f"| {row['model']} | {row['size']} | {row['offered']} | {len(row['wrong'])} | {len(row['lost'])} | {row['unclear']} | `{row['opens']}` | "
            f"{row['full']:.0e} | {row['captum']:.0e} | {row['cost']:.1f} |")

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--only', default=''); p.add_argument('--part', default='0/1', help='each so-manieth model: 0/2, 1/2'); p.add_argument('--fast', action='store_true', help='neither captum nor times'); p.add_argument('--details', action='store_true')
    a = p.parse_args()
    warnings.filterwarnings('ignore')
    print('| model | px | offered | wrong | lost | global | opens | full | captum | cost |\n| --- | --: | --: | --: | --: | --: | --- | --- | --- | --: |', flush=True)
    rows, failed = [], []
    for source, specs in (('torchvision', TORCHVISION), ('timm', TIMM), ('Hugging Face', HUGGING_FACE)):
        for i, spec in enumerate(specs):
            if i % int(a.part[2:]) != int(a.part[0]): continue
            if a.only not in f'{source} {spec}': continue
            try: rows.append(try_one(source, spec, a.fast, a.details))
            except Exception as e: failed.append(spec); print(f'| {spec} | {type(e).__name__}: {str(e)[:150]} |', flush=True); continue
            print(told(rows[-1]), flush=True)
            gc.collect()
    costs = [row['cost'] for row in rows]
    print(f'\n{len(rows)} models, {sum(row["offered"] for row in rows)} layers offered; wrong {sum(len(row["wrong"]) for row in rows)}, '
          f'lost {sum(len(row["lost"]) for row in rows)}, global {sum(row["unclear"] for row in rows)}; grad_cam differs by at most {max(row["full"] for row in rows):.0e} from a full backward pass and '
          f'{max(row["captum"] for row in rows):.0e} from captum; layers_of costs {statistics.median(costs):.1f} forward passes (median; at most {max(costs):.1f}); failed: {failed or "none"}')
