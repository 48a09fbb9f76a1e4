"""What the launcher of the template for frozen runs runs: it describes the job and leaves."""

from beam_pipelines.launching import run_program
from beam_pipelines.run_shards import main

run_program(main)
