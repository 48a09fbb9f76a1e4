"""What the embedding template's launcher runs: it describes the job and leaves."""

from beam_pipelines.embed import main
from beam_pipelines.launching import run_program

run_program(main)
