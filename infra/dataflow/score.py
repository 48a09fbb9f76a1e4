"""What the scoring template's launcher runs: it describes the job and leaves."""

from beam_pipelines.score import main
from linnaeus.process import run_program

run_program(main)
