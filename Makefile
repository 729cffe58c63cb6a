# `make run` and `make test` do all the set-up themselves, in .venv
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
# two notebooks, or two files of tests, at a time: each has one thread, and none spins while it waits
WORKERS ?= 2
export OMP_WAIT_POLICY := PASSIVE
# photographs and ImageNet weights for `make photos`
DATA    ?= ../shared/pets
WEIGHTS ?= ../shared/weights/mobilenet_v2-imagenet.pth
ARCH    ?= mobilenet_v2

NOTEBOOKS ?= $(sort $(wildcard nbs/[0-9]*.ipynb))
LESSONS   ?= $(NOTEBOOKS)

.PHONY: run test notebooks notebooks-zh tests zh trained check js counts lessons photos lab docs dist export readme kaggle kaggle-test widgets7 clean

run: $(VENV)/run
	$(BIN)/petcam run

test: notebooks notebooks-zh tests

notebooks: trained           # every cell of every notebook
	PETCAM_LANG=en OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers $(WORKERS) --do_print --timing

tests: trained               # what a cell cannot hold; what fails beside another is tried once more, alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -q -n $(WORKERS) --dist loadfile --durations=15 || \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -q --last-failed --last-failed-no-failures none

notebooks-zh: trained        # the same cells, with what they say and draw in Chinese
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path nbs/zh --n_workers $(WORKERS) --do_print --timing

trained: $(VENV)/dev         # the toy pets, and the network that all notebooks and most tests use: drawn and trained once, kept in the cache
	$(BIN)/python -c 'from petcam.resize import lesson_learner; lesson_learner()'

widgets7: $(VENV)/dev        # the sliders with the ipywidgets that Colab has, without a front end
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target build/ipywidgets7 ipywidgets==7.7.1 ipython_genutils
	PYTHONPATH=build/ipywidgets7 $(BIN)/python -m pytest tests/test_explore.py tests/test_sliders.py -q -W ignore::DeprecationWarning

check: $(VENV)/dev           # the module is what the notebooks export, the notebooks are clean, the linters find nothing
	./tools/check $(BIN)

js:                          # the page's JavaScript: syntax, eslint, unit tests
	./tools/js

counts: $(VENV)/dev          # how long the lessons are, how much of them is the module's; a thermometer
	$(BIN)/python tools/counts.py

lessons: $(VENV)/dev         # run lessons and workshop and store their outputs
	$(BIN)/python tools/run_lessons.py $(LESSONS)

photos: $(VENV)/dev          # every lesson on photographs, once, in copies in build/photos
	$(BIN)/python tools/photos.py --data $(DATA) --weights $(WEIGHTS) --arch $(ARCH)

zh: $(VENV)/dev              # the Chinese catalogues, notebooks and README, as the English is now; ZH=--run runs what is stale
	$(BIN)/python tools/zh.py $(ZH)
	$(BIN)/python tools/zh_check.py

lab: $(VENV)/lab
	$(BIN)/jupyter lab nbs

docs: $(VENV)/docs           # build/site, from the outputs that the notebooks store; opens from the disk
	$(BIN)/python tools/docs.py

dist: $(VENV)/dev            # dist/: wheel and sdist, tried in a clean environment; DIST=--whole installs all it needs, too
	$(BIN)/python tools/dist.py $(DIST)

export: $(VENV)/dev
	$(BIN)/python tools/first_cell.py
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: $(VENV)/dev          # README.md is nbs/index.ipynb as it was last run; README.zh.md is made by `make zh`
	$(BIN)/python tools/readme.py

kaggle: $(VENV)/dev          # build/kaggle: the wheel as a dataset, and each lesson with its metadata
	$(BIN)/python tools/kaggle.py

kaggle-test: $(VENV)/dev     # all lessons on a machine like Kaggle's with the internet off; minutes
	PETCAM_KAGGLE=1 $(BIN)/python -m pytest tests/test_kaggle.py -q -s

clean:
	rm -rf build dist *.egg-info nbs/models

# one environment; the marker files say what has been installed into it
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
$(VENV)/run: $(BIN)/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e .
	touch $@
$(VENV)/dev: $(BIN)/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/run
$(VENV)/lab: $(BIN)/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e '.[dev,lab]'
	touch $@ $(VENV)/dev $(VENV)/run
$(VENV)/docs: $(BIN)/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e '.[dev,docs]'
	touch $@ $(VENV)/dev $(VENV)/run
