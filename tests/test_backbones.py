"Backbones with others' weights: files with the keys and shapes of TorchGeo's, made here; and networks of timm by name."
import pytest, torch
from safetensors.torch import save_file

from irm_nb.core import *
from irm_nb.models import *

CHANNELS = ('R','G','B','NIR'),('VV','VH','VV-VH') # of a network for optical and for radar images
AT = [3,2,1,7],[0,1] # where their bands stand in the files, as far as they do

def resnet50_shapes(bands): # name -> shape, from He et al. 2016, without a classifier
    def norm(name, n):
        vectors = 'weight','bias','running_mean','running_var'
        return {f'{name}.{k}':(n,) for k in vectors} | {f'{name}.num_batches_tracked':()}
    out = {'conv1.weight':(64, bands, 7, 7), **norm('bn1', 64)}
    n = 64
    for layer,blocks in zip((1, 2, 3, 4), (3, 4, 6, 3)):
        w = 32*2**layer
        for b in range(blocks):
            here = f'layer{layer}.{b}'
            for i,shape in enumerate(((w, n, 1, 1), (w, w, 3, 3), (4*w, w, 1, 1)), 1):
                out |= {f'{here}.conv{i}.weight':shape, **norm(f'{here}.bn{i}', shape[0])}
            if b == 0: out |= {f'{here}.downsample.0.weight':(4*w, n, 1, 1), **norm(f'{here}.downsample.1', 4*w)}
            n = 4*w
    return out

def vit_small_shapes(bands): # name -> shape, from Dosovitskiy et al. 2021 in timm's words: 224 pixels in patches of 16
    d = 384
    def linear(name, o, i): return {f'{name}.weight':(o, i), f'{name}.bias':(o,)}
    def norm(name): return {f'{name}.weight':(d,), f'{name}.bias':(d,)}
    out = {'cls_token':(1, 1, d), 'pos_embed':(1, 197, d)}
    out |= {'patch_embed.proj.weight':(d, bands, 16, 16), 'patch_embed.proj.bias':(d,)}
    for b in range(12):
        here = f'blocks.{b}'
        out |= norm(f'{here}.norm1') | linear(f'{here}.attn.qkv', 3*d, d) | linear(f'{here}.attn.proj', d, d)
        out |= norm(f'{here}.norm2') | linear(f'{here}.mlp.fc1', 4*d, d) | linear(f'{here}.mlp.fc2', d, 4*d)
    return out | norm('norm')

def written(path, shapes, prefix=''): # a file of these tensors, each filled with its place in the list
    state = {k:torch.full(s, i/1000) if s else torch.tensor(i) for i,(k,s) in enumerate(shapes.items())}
    first = next(k for k,s in shapes.items() if len(s) == 4)
    state[first] += torch.arange(shapes[first][1]).view(1,-1,1,1) # each band has a column of its own
    save_file({f'{prefix}{k}':v for k,v in state.items()}, path)
    return state,first

def check_first(new, old, radar, n):
    "Known bands keep their columns, others get the mean, all by old/new"
    at,scale = AT[radar],old.shape[1]/n
    torch.testing.assert_close(new[:,:len(at)], old[:,at]*scale)
    for c in range(len(at), n): torch.testing.assert_close(new[:,c], old.mean(1)*scale)

@pytest.mark.parametrize('arch', ['resnet50','timm:resnet50'])
@pytest.mark.parametrize('layout, prefix', [
    ('SENTINEL1_GRD_MOCO', ''), ('SENTINEL1_GRD_DECUR', 'backbone.'), ('SENTINEL2_ALL_MOCO', 'module.encoder_q.'),
    ('SENTINEL2_ALL_DINO', 'teacher.backbone.'), ('SENTINEL2_ALL_DECUR', '')])
def test_resnets_of_torchgeo(arch, layout, prefix, tmp_path):
    if 'timm' in arch: pytest.importorskip('timm')
    radar = layout.startswith('SENTINEL1')
    bands = CHANNELS[radar]
    state,first = written(tmp_path/'w.safetensors', resnet50_shapes(len(LAYOUTS[layout].bands)), prefix)
    with torch.device('meta'): m = new_model(arch, 10, len(bands))
    m = m.to_empty(device='cpu')
    for how in (dict(layout=layout), {}): # by name, and by the number of bands
        torch.nn.init.zeros_(m.conv1.weight)
        load_weights(m, tmp_path/'w.safetensors', head=False, bands=bands, **how)
        check_first(m.conv1.weight.data, state[first], radar, len(bands))
    for k in ('layer4.2.bn3.running_var','layer1.0.downsample.0.weight'):
        assert torch.equal(m.state_dict()[k], state[k])

@pytest.mark.parametrize('layout', ['SENTINEL2_ALL_MOCO','SENTINEL2_ALL_DINO','SENTINEL1_GRD_MOCO'])
def test_vision_transformers_of_torchgeo(layout, tmp_path):
    pytest.importorskip('timm')
    radar = layout.startswith('SENTINEL1')
    bands = CHANNELS[radar]
    state,first = written(tmp_path/'w.safetensors', vit_small_shapes(len(LAYOUTS[layout].bands)))
    with torch.device('meta'): m = new_model('timm:vit_small_patch16_224:img_size=64', 10, len(bands))
    m = load_weights(m.to_empty(device='cpu'), tmp_path/'w.safetensors', head=False, bands=bands, layout=layout)
    check_first(m.patch_embed.proj.weight.data, state[first], radar, len(bands))
    assert m.pos_embed.shape == (1, 17, 384) # a class token and 4×4 patches
    torch.testing.assert_close(m.pos_embed.data, state['pos_embed'][:,:17])
    assert torch.equal(m.blocks[11].mlp.fc2.weight.data, state['blocks.11.mlp.fc2.weight'])

BUILT = 'vit_tiny_patch16_224','resnet18','convnext_atto','efficientnet_b0','mobilenetv3_small_100'
@pytest.mark.parametrize('name', BUILT)
def test_parts_of_timm_networks(name):
    "Head, features, top and first layer of networks that are built in different ways"
    pytest.importorskip('timm')
    m = new_model(f'timm:{name}', 7, 5, 'parts').eval()
    x = torch.rand(2, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = m(x)
        assert y.shape == (2, 7)
        torch.testing.assert_close(head_of(m)(features(m, x)), y)
        assert new_head(m, 3)(x).shape == (2, 3)
    assert m.get_submodule(adapter_of(m).first).in_channels == 5
    top = stage_parts(m, 'top')
    trained = [k for k,_ in m.named_parameters() if any(k.startswith(f'{p}.') for p in top)]
    assert trained == [k for k,_ in m.named_parameters()][-len(trained):] # what comes last, without a gap
    assert f'{stage_parts(m, "head")[0]}.weight' in trained

def test_a_transformer_as_encoder_of_branches():
    pytest.importorskip('timm')
    tiny = 'timm:vit_tiny_patch16_224:img_size=32,depth=1,embed_dim=48,num_heads=3'
    m = new_model(f'branches:{tiny}:opt=4,sar=3', 5, 7, 0).eval()
    one = new_model(tiny, 2, 3, 1)
    m.begin_from(one.state_dict())
    assert torch.equal(m.sar.patch_embed.proj.weight, one.patch_embed.proj.weight)
    assert m(torch.zeros(2, 7, 32, 32)).shape == (2, 5)
    with pytest.raises(ShapeError): check_images(f'branches:{tiny}:opt=4,sar=3', 7, (64, 64))

@pytest.mark.parametrize('n', [1, 2, 3, 4, 10, 13])
def test_activations_keep_their_size(n):
    "Where bands resemble each other, a first layer answers other bands as strongly as its own"
    g = torch.Generator().manual_seed(n)
    w = torch.randn(16, 13, 7, 7, generator=g)
    bands = LAYOUTS['SENTINEL2_ALL_MOCO'].bands
    x = torch.rand(4, 1, 32, 32, generator=g)
    def answer(w): return torch.nn.functional.conv2d(x.expand(-1, w.shape[1], -1, -1), w).std()
    fitted = fit_first_layer(w, n, [f'new {i}' for i in range(n)], bands)
    torch.testing.assert_close(answer(fitted), answer(w))
    assert torch.equal(fit_first_layer(w, 13, bands, bands), w)

def test_nothing_to_measure_again():
    pytest.importorskip('timm')
    m = new_model('timm:vit_tiny_patch16_224:img_size=32,depth=1,embed_dim=48,num_heads=3', 2, 3, 0)
    before = {k:v.clone() for k,v in m.state_dict().items()}
    with pytest.warns(UserWarning, match='no batch norm'): reestimate_bn(m, None) # no batch is asked for
    assert all(torch.equal(v, before[k]) for k,v in m.state_dict().items())
