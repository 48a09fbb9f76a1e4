"""The steps of a night, a module each: functions from a night under way to an outcome."""
