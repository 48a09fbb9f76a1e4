"""The steps of a workflow, a module each: functions from a run under way to an outcome."""
