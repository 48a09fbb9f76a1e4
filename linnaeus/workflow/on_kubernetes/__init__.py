"""A workflow run on Kubernetes: its launcher, which has Jobs do the work."""
