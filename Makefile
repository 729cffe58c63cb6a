# `make run` and `make test` do all the set-up themselves, in .venv
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
# threads that spin while they wait starve a busy machine
export OMP_WAIT_POLICY := PASSIVE

LESSONS ?= $(sort $(wildcard nbs/[0-9]*.ipynb))

.PHONY: run test notebooks tests check lessons lab docs export readme kaggle kaggle-test widgets7 clean

run: $(VENV)/run
	$(BIN)/petcam run

test: notebooks tests

notebooks: $(VENV)/dev       # every cell of every lesson
	$(BIN)/nbdev_test --n_workers 0 --do_print --timing

tests: $(VENV)/dev           # what a cell cannot hold
	$(BIN)/python -m pytest tests -q

widgets7: $(VENV)/dev        # the sliders with the ipywidgets that Colab has, without a front end
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target build/ipywidgets7 ipywidgets==7.7.1 ipython_genutils
	PYTHONPATH=build/ipywidgets7 $(BIN)/python -m pytest tests/test_explore.py tests/test_sliders.py -q -W ignore::DeprecationWarning

check: $(VENV)/dev           # the module is what the notebooks export, the notebooks are clean, no name is missing
	./tools/check $(BIN)

lessons: $(VENV)/dev         # run the lessons and store their outputs
	$(BIN)/python tools/run_lessons.py $(LESSONS)

lab: $(VENV)/lab
	$(BIN)/jupyter lab nbs

docs: $(VENV)/docs           # build/site, from the outputs that the lessons store; opens from the disk
	$(BIN)/python tools/docs.py

export: $(VENV)/dev
	$(BIN)/python tools/first_cell.py
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: $(VENV)/dev          # README.md is nbs/index.ipynb as it was last run
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
