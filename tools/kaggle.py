"""Fill build/kaggle: a dataset that holds petcam's wheel, and each lesson with its metadata.

The Chinese lessons lie beside the English ones, with `zh` before their names.

Usage: tools/kaggle.py [--gpu]. Then, with Kaggle's own command:
`kaggle datasets create -p build/kaggle/petcam-wheel`,
`kaggle kernels push -p build/kaggle/00_start`.
"""
import json
import shutil
import subprocess
import sys
import tempfile
from dist import LEFT_OUT
from project import ROOT, chinese, lessons, settings

DATASET = 'petcam-wheel'

def wheel(folder):
    "Build the wheel into `folder`"
    # from a copy: setuptools would take up what older builds have left in the tree
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, dirs_exist_ok=True)
        options = ['--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', folder]
        subprocess.run([sys.executable, '-m', 'pip', 'wheel', *options, copy], check=True)

def dataset_metadata(user):
    "What `kaggle datasets create` asks for"
    title, licence = DATASET.replace('-', ' '), dict(name='apache-2.0')
    return dict(id=f'{user}/{DATASET}', title=title, licenses=[licence])

def folder_name(lesson):
    "Of a lesson among all that are made"
    return f'zh_{lesson.stem}' if lesson.parent.name == 'zh' else lesson.stem

def kernel_metadata(lesson, user, gpu=False):
    "What `kaggle kernels push` asks for; Kaggle makes the id of the title, with dashes for spaces"
    title = 'petcam ' + folder_name(lesson).replace('_', ' ')
    name = f"{user}/{title.replace(' ', '-')}"
    return dict(
        id=name, title=title, code_file=lesson.name, language='python', kernel_type='notebook',
        is_private=True, enable_gpu=gpu, enable_internet=False,
        dataset_sources=[f'{user}/{DATASET}'],
        competition_sources=[], kernel_sources=[], model_sources=[])

def folder_with(folder, name, metadata):
    "A new folder that holds `metadata` as the file `name`"
    folder.mkdir(parents=True)
    (folder/name).write_text(json.dumps(metadata, indent=2)+'\n', encoding='utf-8')
    return folder

def build(out, user, gpu=False):
    "Fill the folder `out` anew"
    shutil.rmtree(out, ignore_errors=True)
    wheel(folder_with(out/DATASET, 'dataset-metadata.json', dataset_metadata(user)))
    for lesson in [*lessons(), *chinese()]:
        about = kernel_metadata(lesson, user, gpu)
        shutil.copy(lesson, folder_with(out/folder_name(lesson), 'kernel-metadata.json', about))

if __name__ == '__main__':
    build(ROOT/'build'/'kaggle', settings()['user'], '--gpu' in sys.argv[1:])
    print(*sorted((ROOT/'build'/'kaggle').iterdir()), sep='\n')
