"""A whole night in one file: from new images in a bucket to labels, gates and news."""
