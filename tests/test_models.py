"The layer rule and the maps on small models of torchvision, timm and Hugging Face, against slow oracles (large: benchmarks/models.py)."
import importlib.util
import pathlib
import pytest

path = pathlib.Path(__file__).parents[1]/'benchmarks'/'models.py'
spec = importlib.util.spec_from_file_location('models', path)
models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(models)

@pytest.mark.parametrize('source, name, opens', [
    ('torchvision', 'resnet18', 'layer4'), ('torchvision', 'mobilenet_v3_small', 'features'),
    ('timm', 'vit_small_patch14_reg4_dinov2:112:img_size=112,depth=3,embed_dim=48,num_heads=3', 'blocks.1'),
    ('timm', 'eva02_tiny_patch14_224:112:img_size=112,depth=3,embed_dim=48,num_heads=3', None),
    ('timm', 'xcit_nano_12_p16_224:112:img_size=112,depth=4', None), ('timm', 'edgenext_xx_small:128', None), ('timm', 'convnext_atto:128', None),
    ('Hugging Face', 'ViT', 'vit.layers.1'), ('Hugging Face', 'Dinov2WithRegisters', None), ('Hugging Face', 'Beit', 'beit.layernorm'),
    ('Hugging Face', 'Swin', None), ('Hugging Face', 'ConvNext', None), ('Hugging Face', 'CLIP', None)])
def test_no_wrong_layer_is_offered_no_right_one_lost_and_the_maps_are_those_of_a_full_backward_pass(source, name, opens):
    if source != 'torchvision': pytest.importorskip({'timm': 'timm', 'Hugging Face': 'transformers'}[source])
    row = models.try_one(source, name, fast=True)
    assert row['offered'] > 10 and not row['wrong'] and not row['lost'] and row['full'] < 1e-4
    assert opens in (None, row['opens'])
