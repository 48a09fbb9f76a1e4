"""A whole workflow from one file: from new images to labels, with gates and notifications."""
