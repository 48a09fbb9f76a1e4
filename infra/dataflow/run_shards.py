"""What the launcher of the template for frozen runs runs: it describes the job and leaves."""

from beam_pipelines.run_shards import main
from linnaeus.process import run_program

run_program(main)
