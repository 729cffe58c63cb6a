"""Reading and checking images, and downloading: what lies under `petcam.data`."""
import hashlib
import http.server
import io
import tarfile
import threading
import numpy as np
import pytest
import torch
from PIL import Image
from petcam.data import find_pets, get_data
from petcam.files import downloads
from petcam.files.downloads import download_pets, fetch
from petcam.files.images import BadImage, is_whole, load_image

# --- images ---

@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'GIF', 'BMP', 'WEBP'])
def test_every_cut_is_noticed(tmp_path, format):
    out = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(out, format)
    path, whole = tmp_path/'a_1.jpg', out.getvalue()
    for complete in (whole, whole + b'\0\0'): # some real files have padding behind
        path.write_bytes(complete)
        assert is_whole(path)
    for cut in (0, 10, len(whole)//2, len(whole)*9//10):
        path.write_bytes(whole[:cut])
        assert not is_whole(path), (format, cut)

def test_unreadable_image_is_named(tmp_path):
    (tmp_path/'x_1.jpg').write_text('hello')
    with pytest.raises(BadImage, match='x_1.jpg is not an image'):
        load_image(tmp_path/'x_1.jpg')

def test_alpha_palette_and_grey_become_three_colours(tmp_path):
    for mode in ('RGBA', 'P', 'L', 'CMYK', '1'):
        suffix = 'tiff' if mode == 'CMYK' else 'png'
        Image.new(mode, (5, 4)).save(tmp_path/f'x.{suffix}')
        assert load_image(tmp_path/f'x.{suffix}').shape == (3, 4, 5)

def test_an_image_damaged_in_the_middle_is_passed_over(few_pets):
    # PNGs, whatever their names say
    whole, damaged = (few_pets/'images'/f'beagle_{k}.jpg' for k in (98, 99))
    Image.effect_noise((64, 64), 50).save(whole, 'PNG')
    content = bytearray(whole.read_bytes())
    content[800:1000] = bytes(200)
    damaged.write_bytes(content)
    assert is_whole(whole) and find_pets(few_pets, quiet=True).broken == [damaged]

def test_a_link_to_nowhere_is_passed_over(few_pets):
    (few_pets/'images'/'beagle_98.jpg').symlink_to('/nowhere/at/all.jpg')
    assert [f.name for f in find_pets(few_pets, quiet=True).broken] == ['beagle_98.jpg']

def test_a_large_jpeg_is_decoded_small_and_looks_the_same(few_pets, tmp_path):
    data, file = get_data(96, 8, path=few_pets), tmp_path/'large_1.jpg'
    y, x = np.mgrid[:1200, :1600]
    waves = np.stack([127 + 120*np.sin(x/90), 127 + 120*np.cos(y/70), (x + y)/11], -1)
    Image.fromarray(waves.astype(np.uint8)).save(file, quality=95)
    small = load_image(file, 2*96)
    assert small.shape == (3, 300, 400) # a quarter; an eighth would be too small
    whole = torch.nn.functional.avg_pool2d(load_image(file), 4)
    assert (small - whole).abs().max() < 6/255 and (small - whole).abs().mean() < 1/255
    by_file, by_tensor = data.one_item(file), data.one_item(load_image(file))
    assert not torch.equal(by_file, by_tensor)
    assert (data.denorm(by_file) - data.denorm(by_tensor)).abs().max() < 6/255
    already_small = data.valid_ds.files[0]
    assert torch.equal(load_image(already_small, 192), load_image(already_small))

# --- downloads ---

class Server(http.server.BaseHTTPRequestHandler):
    files, starts, break_after = {}, [], None

    def do_GET(self):
        body, start = self.files[self.path.rsplit('/', 1)[1]], 0
        if requested := self.headers.get('Range'): start = int(requested[6:-1])
        self.starts.append(start)
        if start >= len(body) and start: return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', len(body) - start)
        self.end_headers()
        self.wfile.write(body[start:self.break_after or None])

    def log_message(self, *args):
        return

@pytest.fixture
def server():
    Server.files, Server.starts, Server.break_after = {}, [], None
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{s.server_port}/'
    s.shutdown()
    s.server_close()

def md5(content):
    return hashlib.md5(content).hexdigest()

def test_a_download_resumes_where_it_broke_off(server, tmp_path):
    content, path = bytes(range(256))*100, tmp_path/'a.bin'
    Server.files['a.bin'], Server.break_after = content, 9000
    with pytest.raises(ConnectionError, match='are kept, try again'):
        fetch(server + 'a.bin', path, md5(content), show=False)
    assert not path.exists()
    Server.break_after = None
    assert fetch(server + 'a.bin', path, md5(content), show=False).read_bytes() == content
    assert Server.starts == [0, 9000] and [f.name for f in tmp_path.iterdir()] == ['a.bin']
    fetch(server + 'a.bin', path, md5(content))
    assert len(Server.starts) == 2 # it is there: nothing is requested

def test_a_download_that_only_lacks_its_name_is_not_received_again(server, tmp_path):
    Server.files['a.bin'] = b'all of it'
    (tmp_path/'a.bin.part').write_bytes(b'all of it')
    path = fetch(server + 'a.bin', tmp_path/'a.bin', md5(b'all of it'), show=False)
    assert path.read_bytes() == b'all of it' and Server.starts == [9]

def test_a_damaged_download_is_deleted_and_said(server, tmp_path):
    Server.files['a.bin'] = b'not what was promised'
    with pytest.raises(ConnectionError, match='arrived damaged'):
        fetch(server + 'a.bin', tmp_path/'a.bin', md5(b'x'), show=False)
    assert not list(tmp_path.iterdir())

def test_a_download_shows_its_progress(server, tmp_path, capsys):
    Server.files['a.bin'] = bytes(3_000_000)
    fetch(server + 'a.bin', tmp_path/'a.bin', md5(bytes(3_000_000)))
    assert '3.00M/3.00M' in capsys.readouterr().err

def packed(name, source):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar: tar.add(source, name)
    return out.getvalue()

def test_download_and_unpack(server, few_pets, tmp_path, monkeypatch):
    Server.files = {'images.tar.gz': packed('images', few_pets/'images'),
                    'annotations.tar.gz': packed('annotations', few_pets/'images')}
    sums = {name: md5(body) for name, body in Server.files.items()}
    monkeypatch.setenv('PETCAM_CACHE', str(tmp_path/'cache'))
    monkeypatch.delenv('PETCAM_DATA', raising=False)
    folder = download_pets(url=server, archives=sums)
    assert sorted(f.name for f in folder.iterdir()) == ['annotations', 'images']
    assert len(find_pets(quiet=True, kaggle=tmp_path).files) == 40
    download_pets(url=server, archives=sums)
    assert len(Server.starts) == 2

def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(ConnectionError, match='could not be downloaded'):
        download_pets(tmp_path, url='http://127.0.0.1:9/')

def test_the_archives_are_those_that_torchvision_names():
    from torchvision.datasets import OxfordIIITPet
    ours = {(downloads.PETS_URL + name, md5) for name, md5 in downloads.ARCHIVES.items()}
    assert ours == set(OxfordIIITPet._RESOURCES)
