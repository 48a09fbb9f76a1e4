"""What the embedding template's launcher runs: it describes the job and leaves."""

from beam_pipelines.embed import main
from linnaeus.process import run_program

run_program(main)
