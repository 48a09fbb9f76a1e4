"""What the scoring template's launcher runs: it describes the job and leaves."""

from beam_pipelines.launching import run_program
from beam_pipelines.score import main

run_program(main)
