"""The package's metadata stands in settings.ini, where nbdev reads it too."""
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
config = config['DEFAULT']
EXTRAS = 'dev', 'lab', 'docs', 'accelerate', 'photo', 'page'
# all that stands beside the code: weights, tables, templates, scripts, styles
BESIDE = [f for f in (here/'petcam').rglob('*') if f.is_file() and f.suffix not in ('.py', '.pyc')]
DATA = [f.relative_to(here/'petcam').as_posix() for f in BESIDE]

setup(
    name=config['lib_name'],
    version=config['version'],
    description=config['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=config['author'],
    author_email=config['author_email'],
    url=config['git_url'],
    keywords=config['keywords'],
    license='Apache-2.0',
    python_requires='>=' + config['min_python'],
    # the notebooks travel with the package, for `petcam lab`
    packages=[*find_packages(include=['petcam', 'petcam.*']), 'petcam.lessons'],
    package_dir={'petcam.lessons': 'nbs'},
    package_data={'petcam': DATA, 'petcam.lessons': ['*.ipynb', 'zh/*.ipynb']},
    zip_safe=False,
    install_requires=config['requirements'].split(),
    extras_require={extra: config[f'{extra}_requirements'].split() for extra in EXTRAS},
    entry_points={
        'console_scripts': ['petcam = petcam.cli:main'],
        'nbdev': ['petcam=petcam._modidx:d'],
    },
)
