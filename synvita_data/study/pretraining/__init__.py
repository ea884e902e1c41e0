"""How the shipped models of the shapes world are made: a Video-LLaVA of a million parameters, from nothing.

    python -m synvita_data.study.pretraining --out DIR --seed 0

First the vision tower learns to find shapes (`detection`), then the whole model to say Yes and No to statements about
clips, six packed behind each (`statements`, `packed`). All by steps, on one thread: on one machine the same seed gives
the same bytes. `export` writes both states with their card, `numbers` measures what was written, by stock forward.
"""
